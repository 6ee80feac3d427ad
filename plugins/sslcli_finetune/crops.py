"""How a picture is shown to a network that learns its class: cut, turned, RandAugment on the cut, erased.

The order is that of timm's `create_transform`; all chance is drawn in one place, as for every view of the house.
"""

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
from sslcli.data.settings import Cropping, Erase, Photometry, RandAugment
from sslcli_finetune.protocols import Settings


class TrainingCrop(ViewAugmentation):
    """One crop a picture, at the size that the network is tested at."""

    def __init__(self, settings: Settings, context: Context) -> None:
        size, magnitude = context.image_size, settings.rand_augment
        self.crop = ResizedCrop(Cropping(size=size, scale=(settings.least_area, 1.0)))
        self.augment = RandAugmentation(RandAugment(magnitude=magnitude)) if magnitude else None
        erase = Erase(probability=(settings.erase,)) if settings.erase else None
        self.colours = Photometric(Photometry(erase=erase), size, context)

    def draw(self, rng: np.random.Generator, *, height: int, width: int, crop: int) -> Draw:
        """All numbers of one crop."""
        cutting: list[float] = rng.random(self.crop.numbers).tolist()
        colouring: list[float] = rng.random(Photometric.numbers).tolist()
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop) | self.colours.draw(colouring, crop)
        if self.augment is not None:
            drawn |= self.augment.draw(rng.random(self.augment.numbers).tolist(), crop)
        return drawn

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """One crop of an RGB picture, `[S, S, 3]`."""
        cut = self.crop.cut(image, draw)
        return cut if self.augment is None else np.array(self.augment(Image.fromarray(cut), draw))

    def finish(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`, some with a part erased."""
        return self.colours(crops, draws)
