"""Multi-crop: any number of view groups, each of any number of crops of one size."""

from sslcli.api import Augmentation, Offers, hookimpl
from sslcli_multicrop.options import MulticropOptions


@hookimpl
def sslcli_augmentations() -> Offers:
    """Resized crops with flip, jitter, grey, blur, solarise, RandAugment and erasing."""
    yield Augmentation(
        "multicrop",
        MulticropOptions,
        "sslcli_multicrop.augmentation:Multicrop",
        summary="resized crops with flip, jitter, grey, blur, solarise, RandAugment, erasing",
        paper="arXiv:2006.09882",
    )
