"""Masked autoencoders (MAE): rebuild the pixels of the patches that were hidden."""

from sslcli.api import Loss, Offers, hookimpl
from sslcli_mae.options import MaskedAutoencoderOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`mae`."""
    yield Loss(
        "mae",
        MaskedAutoencoderOptions,
        "sslcli_mae.loss:MaskedAutoencoder",
        summary="rebuild the pixels of hidden patches from the few that are seen",
        paper="arXiv:2111.06377",
        needs=("tokens", "masking"),
    )
