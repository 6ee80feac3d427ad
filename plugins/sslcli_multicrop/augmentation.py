"""Multi-crop: the worker cuts, the device does the rest."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import Draw, ViewAugmentation
from sslcli.data.crops import ResizedCrop
from sslcli.data.pipeline import Pipeline
from sslcli_multicrop.options import MulticropOptions


class Multicrop(ViewAugmentation):
    """RandAugment on the whole picture, a resized crop, then colours, each as the options say."""

    def __init__(self, options: MulticropOptions, context: Context) -> None:
        self.crop = ResizedCrop(options)
        self.pipeline = Pipeline(options, options.size, context)

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """All numbers of one crop; those of RandAugment come last, because their count is an option."""
        cutting: list[float] = rng.random(self.crop.numbers).tolist()
        colouring: list[float] = rng.random(Pipeline.colouring).tolist()
        augmenting: list[float] = rng.random(self.pipeline.augmenting).tolist()
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop)
        return drawn | self.pipeline.draw(colouring, augmenting, crop)

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`."""
        return self.pipeline.cut(self.crop, image, draw)

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`."""
        return self.pipeline.photometric(crops, draws)
