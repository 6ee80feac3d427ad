"""BYOL: foretell the teacher's projection of another crop of the same image, without negatives."""

from sslcli.api import Loss, Offers, hookimpl
from sslcli_byol.options import BootstrapOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`byol`."""
    yield Loss(
        "byol",
        BootstrapOptions,
        "sslcli_byol.loss:Bootstrap",
        summary="foretell the teacher's projection of another crop of the same image; no negatives",
        paper="arXiv:2006.07733",
    )
