"""Multi-crop: the worker cuts, the device does the rest."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import Draw, ViewAugmentation
from sslcli.data.crops import ResizedCrop
from sslcli.data.photometric import Photometric
from sslcli.data.randaugment import RandAugmentation
from sslcli_multicrop.options import MulticropOptions


class Multicrop(ViewAugmentation):
    """RandAugment on the whole picture, a resized crop, then colours, each as the options say."""

    def __init__(self, options: MulticropOptions, context: Context) -> None:
        self.crop = ResizedCrop(options)
        self.photometric = Photometric(options, options.size, context)
        self.rand_augment = RandAugmentation(options.rand_augment) if options.rand_augment else None

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """All numbers of one crop; those of RandAugment come last, because their count is an option."""
        cutting: list[float] = rng.random(self.crop.numbers).tolist()
        colouring: list[float] = rng.random(self.photometric.numbers).tolist()
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop)
        drawn.update(self.photometric.draw(colouring, crop))
        if self.rand_augment is not None:
            drawn.update(self.rand_augment.draw(rng.random(self.rand_augment.numbers).tolist(), crop))
        return drawn

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`."""
        return self.crop.cut(image if self.rand_augment is None else self.rand_augment(image, draw), draw)

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`."""
        return self.photometric(crops, draws)
