"""Random erasing (Zhong et al. 2017, arXiv:1708.04896): a rectangle of a crop is filled with noise or one colour.

Source: torchvision's RandomErasing: an area and a shape are tried ten times; when none fits, nothing is erased. Noise
is not shipped: it is computed on the device from a key that was drawn for the crop.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sslcli.data.augmentation import Draw
from sslcli.data.draws import between
from sslcli.data.selected import where_drawn
from sslcli.data.settings import Erase, chance_of
from sslcli.nn.random import philox

TRIES = 10
Box = tuple[int, int, int, int]  # top, left, height, width, in pixels of the crop


class Erasing:
    """Erase as the options say."""

    numbers = 2 * TRIES + 4  # that `draw` uses: the coin, the noise's key, areas and shapes, the position

    def __init__(self, settings: Erase, size: int, mean: tuple[float, float, float]) -> None:
        self.settings, self.size = settings, size
        self.colour = mean if settings.fill == "mean" and settings.before_normalise else (0.0, 0.0, 0.0)
        self.log_ratio = (math.log(settings.ratio[0]), math.log(settings.ratio[1]))

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`erase [4]`, top, left, height and width, zeros for none; `erase_key`, a 32-bit key of the noise."""
        erased = numbers[0] < chance_of(self.settings.probability, crop)
        box = self.box(numbers[2:]) if erased else (0, 0, 0, 0)
        return {"erase": np.array(box, dtype=np.int64), "erase_key": int(numbers[1] * (1 << 32))}

    def box(self, numbers: Sequence[float]) -> Box:
        """The first try that is smaller than the crop, at a drawn position."""
        for attempt in range(TRIES):
            area = self.size * self.size * between(numbers[2 * attempt], *self.settings.area)
            ratio = math.exp(between(numbers[2 * attempt + 1], *self.log_ratio))
            down, across = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if down < self.size and across < self.size:
                top = int(numbers[-2] * (self.size - down + 1))
                return top, int(numbers[-1] * (self.size - across + 1)), down, across
        return 0, 0, 0, 0

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Images `[B, 3, S, S]` with their rectangles filled."""
        fill = fill_noise if self.settings.fill == "noise" else self.fill_colour
        return where_drawn(draws["erase"][:, 2] > 0, fill, images, draws["erase"], draws["erase_key"])

    def fill_colour(self, images: Tensor, box: Tensor, key: Tensor) -> Tensor:
        """One colour in the rectangles."""
        colour = torch.tensor(self.colour, device=images.device).view(1, 3, 1, 1)
        return torch.where(inside(box, self.size), colour, images)


def fill_noise(images: Tensor, box: Tensor, key: Tensor) -> Tensor:
    """Normal noise in the rectangles `[B, 4]`, each value fixed by `key [B]` and its place in the image."""
    mask = inside(box, images.shape[-1]).expand_as(images)
    if images.device.type != "cpu":
        place = torch.arange(images[0].numel(), device=images.device)
        return normal(key[:, None], place).view_as(images).where(mask, images)
    sample, place = mask.flatten(1).nonzero(as_tuple=True)
    return images.masked_scatter(mask, normal(key[sample], place))


def inside(box: Tensor, size: int) -> Tensor:
    """Which pixels are in the rectangle, `[B, 1, S, S]`."""
    top, left, height, width = box.view(-1, 4, 1, 1).unbind(1)
    place = torch.arange(size, device=box.device)
    rows, columns = place.view(1, -1, 1), place.view(1, 1, -1)
    down = (rows >= top) & (rows < top + height)
    return (down & (columns >= left) & (columns < left + width))[:, None]


def normal(key: Tensor, place: Tensor) -> Tensor:
    """Standard normal numbers, float32, fixed by a 32-bit key and a place."""
    bits = philox(place, torch.zeros_like(place), key) >> 8
    return math.sqrt(2.0) * torch.erfinv((2 * bits + 1).to(torch.float32) / (1 << 24) - 1.0)
