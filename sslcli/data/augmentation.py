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


class MaskedViewAugmentation(ViewAugmentation):
    """One that also looks at which pixels are the picture's object, for crops whose draw says so.

    Its options say `reads_masks`. A picture that has no mask, or one that cannot be used, goes through `cut`.
    """

    @abstractmethod
    def wants_mask(self, draw: Draw) -> bool:
        """Whether a crop with these draws looks at the mask; only then is it read."""

    @abstractmethod
    def cut_with_mask(self, image: Image.Image, mask: NDArray[np.bool_], draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`, by its mask `[h, w]`: of the picture's shape, but of any size."""


class MixAugmentation(ABC):
    """A view group to a mixed group and its plan, on the device. Built as `code(options, context)`."""

    @abstractmethod
    def mix(self, images: Tensor, uniform: Uniform) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mixed images of `images [crops, B, 3, H, W]`, which stay as they are, and what a loss must know of it."""
