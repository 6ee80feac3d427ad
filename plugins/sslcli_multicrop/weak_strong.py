"""Weak and strong views: crops that are cut alike, and treated in one of two ways by a coin."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import Draw, ViewAugmentation
from sslcli.data.crops import ResizedCrop
from sslcli.data.draws import group_generator
from sslcli.data.either import EitherPhotometric
from sslcli.data.pipeline import AUGMENT, Pipeline
from sslcli_multicrop.options import WeakStrongOptions

COIN = "strong"  # the draw that says which pipeline a crop goes through
T = TypeVar("T")


class WeakStrong(ViewAugmentation):
    """A resized crop through the weak or the strong pipeline.

    Both pipelines are drawn for every crop, from the same numbers, since only one of them is used: another share or
    another coin changes nothing but which one.
    """

    def __init__(self, options: WeakStrongOptions, context: Context) -> None:
        self.options = options
        self.crop = ResizedCrop(options)
        self.weak = Pipeline(options.weak, options.size, context)
        self.strong = Pipeline(options.strong, options.size, context)
        self.either = EitherPhotometric(self.weak.photometric, self.strong.photometric)

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """All numbers of one crop; those of RandAugment come last, because their count is an option."""
        cutting: list[float] = rng.random(self.crop.numbers).tolist()
        colouring: list[float] = rng.random(Pipeline.colouring).tolist()
        strong = self.toss(rng)
        augmenting: list[float] = rng.random(max(self.weak.augmenting, self.strong.augmenting)).tolist()
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop)
        drawn |= {COIN: strong} | ({f"column.{self.options.column}": not strong} if self.options.column else {})
        drawn |= under("weak", self.weak.draw(colouring, augmenting, crop))
        return drawn | under("strong", self.strong.draw(colouring, augmenting, crop))

    def toss(self, rng: np.random.Generator) -> bool:
        """The coin: true for strong. The crop's own number is drawn in any case, so that those after it stay."""
        own = float(rng.random())
        return (
            float(group_generator(rng).random()) if self.options.coin == "sample" else own
        ) < self.options.strong_share

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`."""
        name, pipeline = ("strong", self.strong) if draw[COIN] else ("weak", self.weak)
        return pipeline.cut(self.crop, image, draw | within(name, draw))

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`, each row by its own pipeline."""
        return self.either(crops, draws[COIN], colours(within("weak", draws)), colours(within("strong", draws)))


def under(name: str, draw: Draw) -> Draw:
    """A pipeline's draws, under its name among those of the crop."""
    return {f"{name}.{key}": value for key, value in draw.items()}


def within(name: str, draws: Mapping[str, T]) -> dict[str, T]:
    """A pipeline's draws out of those of the crop."""
    return {key.removeprefix(f"{name}."): value for key, value in draws.items() if key.startswith(f"{name}.")}


def colours(draws: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the device needs of a pipeline's draws."""
    return {key: draw for key, draw in draws.items() if key != AUGMENT}
