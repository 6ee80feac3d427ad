"""The options of `multicrop`."""

from sslcli.data.settings import Cropping, PerCrop, Photometry, RandAugment


class MulticropOptions(Photometry, Cropping):
    """Crops of one picture; without more options, a resized crop that is flipped half of the time."""

    rand_augment: PerCrop[RandAugment | None] = None
