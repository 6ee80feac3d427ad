"""Saliency: crops of pictures without their background, and the masks that this takes (`sslcli saliency compute`)."""

from sslcli.api import Augmentation, Offers, hookimpl
from sslcli_saliency.options import SaliencyCropOptions


@hookimpl
def sslcli_augmentations() -> Offers:
    """`saliency_crop`."""
    yield Augmentation(
        "saliency_crop",
        SaliencyCropOptions,
        "sslcli_saliency.augmentation:SaliencyCrop",
        summary="multicrop's crops, some of them cut from the picture without its background",
        paper="arXiv:2201.05119",
    )
