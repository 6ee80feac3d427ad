"""Vision transformers of timm, by name or by size."""

from sslcli.api import Backbone, Offers, hookimpl
from sslcli_vit.options import VitOptions

ABILITIES = ("tokens", "masking", "attention_mask", "attention_choice", "experts")


@hookimpl
def sslcli_backbones() -> Offers:
    """The backbone `vit`."""
    yield Backbone(
        "vit",
        VitOptions,
        "sslcli_vit.backbone:Vit",
        summary="a vision transformer of timm, by name or by size",
        paper="arXiv:2010.11929",
        abilities=ABILITIES,
    )
