"""Masked autoencoders (MAE): rebuild the pixels of the patches that were hidden."""

from sslcli.api import Figure, Loss, Offers, hookimpl
from sslcli_mae.figure_options import RebuiltOptions
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


@hookimpl
def sslcli_figures() -> Offers:
    """`reconstruction`."""
    yield Figure(
        "reconstruction",
        RebuiltOptions,
        "sslcli_mae.figure:draw",
        summary="pictures, what is seen of them, and what the decoder rebuilds",
        paper="arXiv:2111.06377",
        needs="network",
        shows=("mae",),
    )
