"""DINO and iBOT: the student agrees with its own moving average on which prototypes an image, or a patch, is like."""

from sslcli.api import Loss, Offers, hookimpl
from sslcli_dino.options import DinoOptions, IbotOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`dino` and `ibot`."""
    yield Loss(
        "dino",
        DinoOptions,
        "sslcli_dino.dino:SelfDistillation",
        summary="agree with the teacher's prototypes of another crop of the same image",
        paper="arXiv:2104.14294",
    )
    yield Loss(
        "ibot",
        IbotOptions,
        "sslcli_dino.ibot:MaskedDistillation",
        summary="the same from masked crops, and the teacher's prototypes of the hidden patches",
        paper="arXiv:2111.07832",
        needs=("tokens", "masking"),
    )
