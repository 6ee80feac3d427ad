"""What is done to a crop beside cutting it, as one table of options says."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sslcli.api import Context
from sslcli.data.augmentation import Draw
from sslcli.data.crops import ResizedCrop
from sslcli.data.photometric import Photometric
from sslcli.data.randaugment import RandAugmentation
from sslcli.data.settings import Treatment

AUGMENT = "rand_augment"  # the draw that the worker alone reads


class Pipeline:
    """RandAugment on the whole picture, in the worker; colours of the crop, on the device."""

    colouring = Photometric.numbers  # that `draw` uses, whatever the options

    def __init__(self, settings: Treatment, size: int, context: Context) -> None:
        self.photometric = Photometric(settings, size, context)
        self.rand_augment = RandAugmentation(settings.rand_augment) if settings.rand_augment else None
        self.augmenting = self.rand_augment.numbers if self.rand_augment else 0  # that `draw` uses too

    def draw(self, colouring: Sequence[float], augmenting: Sequence[float], crop: int) -> Draw:
        """What each operation needs to know, from `self.colouring` and `self.augmenting` numbers in [0, 1)."""
        drawn = self.photometric.draw(colouring, crop)
        if self.rand_augment is not None:
            drawn.update(self.rand_augment.draw(augmenting, crop))
        return drawn

    def cut(self, crop: ResizedCrop, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """The drawn crop `[S, S, 3]` of the augmented picture, of which no more is made than the crop needs."""
        steps = [] if self.rand_augment is None else self.rand_augment.steps(draw)
        if self.rand_augment is None or not steps:
            return crop.cut(image, draw)
        left, top, right, bottom = np.asarray(draw["box"]).tolist()
        return crop.resize(self.rand_augment.part(image, steps, (left, top, right, bottom)), draw)
