"""Residual networks of timm, by name or by depth and width."""

from sslcli.api import Backbone, Offers, hookimpl
from sslcli_resnet.options import ResnetOptions


@hookimpl
def sslcli_backbones() -> Offers:
    """The backbone `resnet`."""
    yield Backbone(
        "resnet",
        ResnetOptions,
        "sslcli_resnet.backbone:Resnet",
        summary="a ResNet of timm, by name or by depth and width",
        paper="arXiv:1512.03385",
    )
