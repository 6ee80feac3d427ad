"""SimCLR: two crops of an image are alike, and unlike every other crop of the batch."""

from sslcli.api import Loss, Offers, hookimpl
from sslcli_simclr.options import SimpleContrastOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`simclr`."""
    yield Loss(
        "simclr",
        SimpleContrastOptions,
        "sslcli_simclr.loss:SimpleContrast",
        summary="tell the other crop of an image from all other crops of the batch, without a teacher",
        paper="arXiv:2002.05709",
    )
