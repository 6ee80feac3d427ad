"""Multi-crop: any number of view groups, each of any number of crops of one size, of one or two pipelines."""

from sslcli.api import Augmentation, Offers, hookimpl
from sslcli_multicrop.options import MulticropOptions, WeakStrongOptions


@hookimpl
def sslcli_augmentations() -> Offers:
    """Resized crops with flip, jitter, grey, blur, solarise, RandAugment and erasing, in one way or in two."""
    yield Augmentation(
        "multicrop",
        MulticropOptions,
        "sslcli_multicrop.augmentation:Multicrop",
        summary="resized crops with flip, jitter, grey, blur, solarise, RandAugment, erasing",
        paper="arXiv:2006.09882",
    )
    yield Augmentation(
        "weak_strong",
        WeakStrongOptions,
        "sslcli_multicrop.weak_strong:WeakStrong",
        summary="the same crops, each treated weakly or strongly by a coin of its own or one for all",
    )
