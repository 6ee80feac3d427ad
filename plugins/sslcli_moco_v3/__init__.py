"""MoCo v3: a query of one crop must find the key of the other crop among those of the whole batch."""

from sslcli.api import Loss, Offers, hookimpl
from sslcli_moco_v3.options import MomentumContrastOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`moco_v3`."""
    yield Loss(
        "moco_v3",
        MomentumContrastOptions,
        "sslcli_moco_v3.loss:MomentumContrast",
        summary="find the teacher's key of another crop of the same image in the batch",
        paper="arXiv:2104.02057",
    )
