"""The work on the colours of crops: drawn one by one in the worker, done batch by batch on the device."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import Draw
from sslcli.data.blur import GaussianBlur
from sslcli.data.colour import grey, solarise
from sslcli.data.erasing import Erasing
from sslcli.data.jitter import ColourJitter
from sslcli.data.selected import where_drawn
from sslcli.data.settings import Photometry, Solarise, chance_of


class Greying:
    """Colour taken away from some samples."""

    numbers = 1  # that `draw` uses: the coin

    def __init__(self, chances: tuple[float, ...]) -> None:
        self.chances = chances

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`grey`, the coin."""
        return {"grey": numbers[0] < chance_of(self.chances, crop)}

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Images `[B, 3, S, S]`, some of them grey."""
        return where_drawn(draws["grey"], grey, images)


class Solarising:
    """The light half of some samples inverted."""

    numbers = 1  # that `draw` uses: the coin

    def __init__(self, settings: Solarise) -> None:
        self.settings = settings

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`solarise`, the coin."""
        return {"solarise": numbers[0] < chance_of(self.settings.probability, crop)}

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Images `[B, 3, S, S]`, some of them solarised."""
        return where_drawn(draws["solarise"], lambda some: solarise(some, self.settings.threshold / 255.0), images)


class Normalising:
    """`(images - mean) / std`, channel by channel."""

    def __init__(self, context: Context) -> None:
        self.mean, self.std = context.mean, context.std

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Images `[B, 3, S, S]`, normalised."""
        mean, std = (images.new_tensor(value).view(1, 3, 1, 1) for value in (self.mean, self.std))
        return (images - mean).div_(std)


Operation = ColourJitter | Greying | GaussianBlur | Solarising | Erasing
Stages = tuple[Operation | Normalising | None, ...]
SLOTS = (ColourJitter.numbers, Greying.numbers, GaussianBlur.numbers, Solarising.numbers, Erasing.numbers)


class Photometric:
    """Jitter, grey, blur, solarise, erase and normalise, as the options say.

    An operation that is switched off still has its place among the drawn numbers, so that switching it on or off leaves
    the others as they were.
    """

    numbers = sum(SLOTS)  # that `draw` uses

    def __init__(self, settings: Photometry, size: int, context: Context) -> None:
        self.jitter = ColourJitter(settings.jitter) if settings.jitter else None
        self.grey = Greying(settings.grey) if any(settings.grey) else None
        self.blur = GaussianBlur(settings.blur) if settings.blur else None
        self.solarise = Solarising(settings.solarise) if settings.solarise else None
        self.erase = Erasing(settings.erase, size, context.mean) if settings.erase else None
        self.normalise = Normalising(context)
        self.slots = tuple(zip((self.jitter, self.grey, self.blur, self.solarise, self.erase), SLOTS))

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """What each operation that is on needs to know of this crop, from `self.numbers` numbers in [0, 1)."""
        drawn: Draw = {}
        start = 0
        for operation, count in self.slots:
            if operation is not None:
                drawn.update(operation.draw(numbers[start : start + count], crop))
            start += count
        return drawn

    @torch.no_grad()
    def __call__(self, crops: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`, in float32 whatever the precision around."""
        with torch.autocast(crops.device.type, enabled=False):
            images = to_images(crops)
            for operation in self.stages():
                images = images if operation is None else operation(images, draws)
            return images

    def stages(self) -> Stages:
        """The operations in their order, None for one that is off, with erasing before or after normalisation."""
        early = self.erase is not None and self.erase.settings.before_normalise
        erasing = (self.erase, self.normalise, None) if early else (None, self.normalise, self.erase)
        return (self.jitter, self.grey, self.blur, self.solarise, *erasing)


def to_images(crops: Tensor) -> Tensor:
    """uint8 `[B, S, S, 3]` to float32 `[B, 3, S, S]` in [0, 1]."""
    images = crops.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    return images.div_(255.0)
