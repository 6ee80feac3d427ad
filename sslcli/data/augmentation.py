"""The contracts of the two kinds of augmentation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Draw = dict[str, float | int | NDArray[np.generic]]  # the same keys, types and shapes for every draw
Uniform = Callable[..., Tensor]  # uniform(key, *shape) -> [B, *shape] in [0, 1)


class ViewAugmentation(ABC):
    """Picture to crops, in three stages, with all chance in the first.

    Built as `code(options, context)`, once in the main process and used in its loader workers too.
    """

    @abstractmethod
    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """Every random number of crop number `crop` of a picture of this size.

        Numbers whose name begins with `column.` are facts of the sample that losses may read.
        """

    @abstractmethod
    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`; runs in a loader worker."""

    @abstractmethod
    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` and their draws `[B, ...]` to normalised images `[B, 3, S, S]`, on the device."""


class MixAugmentation(ABC):
    """A view group to a mixed group and its plan, on the device. Built as `code(options, context)`."""

    @abstractmethod
    def mix(self, images: Tensor, uniform: Uniform) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mixed images of `images [crops, B, 3, H, W]`, which stay as they are, and what a loss must know of it."""
