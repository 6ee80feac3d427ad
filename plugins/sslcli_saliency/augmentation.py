"""`saliency_crop`: RELICv2's removal of the background (arXiv:2201.05119), on the whole picture and before any crop."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import Draw, MaskedViewAugmentation
from sslcli.data.crops import ResizedCrop
from sslcli.data.masks import Mask, without_background
from sslcli.data.pipeline import Pipeline
from sslcli.data.settings import chance_of
from sslcli_saliency.options import SaliencyCropOptions

MASKING = 2  # numbers that the removal of the background takes: its coin, and the grey


class SaliencyCrop(MaskedViewAugmentation):
    """A resized crop of the picture, or of the picture without its background, then colours.

    With a probability of 0 it is `multicrop`, to the bit.
    """

    def __init__(self, options: SaliencyCropOptions, context: Context) -> None:
        self.options = options
        self.mean = (round(255 * context.mean[0]), round(255 * context.mean[1]), round(255 * context.mean[2]))
        self.crop = ResizedCrop(options)
        self.pipeline = Pipeline(options, options.size, context)

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """All numbers of one crop; those of RandAugment come last, because their count is an option."""
        cutting: list[float] = rng.random(self.crop.numbers).tolist()
        colouring: list[float] = rng.random(Pipeline.colouring).tolist()
        coin, grey = rng.random(MASKING).tolist()
        augmenting: list[float] = rng.random(self.pipeline.augmenting).tolist()
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop)
        drawn |= {"masked": coin < chance_of(self.options.mask_probability, crop), "grey_level": int(256 * grey)}
        return drawn | self.pipeline.draw(colouring, augmenting, crop)

    def wants_mask(self, draw: Draw) -> bool:
        """Where the coin says that the background goes."""
        return bool(draw["masked"])

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`."""
        return self.pipeline.cut(self.crop, image, draw)

    def cut_with_mask(self, image: Image.Image, mask: Mask, draw: Draw) -> NDArray[np.uint8]:
        """One crop of the picture without its background, `[S, S, 3]`."""
        return self.cut(without_background(image, mask, self.colour(draw)), draw)

    def colour(self, draw: Draw) -> tuple[int, int, int]:
        """What the background becomes."""
        level = int(draw["grey_level"])
        return {"black": (0, 0, 0), "mean": self.mean, "grey": (level, level, level)}[self.options.background]

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`."""
        return self.pipeline.photometric(crops, draws)
