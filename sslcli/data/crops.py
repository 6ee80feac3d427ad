"""Resized crops: where to cut, drawn from a fixed count of numbers, and the cut itself.

Source: torchvision's RandomResizedCrop (arXiv:1409.4842): an area and a shape are tried ten times; when none fits, the
largest crop from the middle whose shape is allowed. BYOL's released code cuts the first try to fit. Resizing is
PyTorch's for uint8, which filters as Pillow does, to one level of 255, in about a third of the time.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sslcli.data.augmentation import Draw
from sslcli.data.draws import between
from sslcli.data.settings import Cropping, chance_of

TRIES = 10
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the picture


class ResizedCrop:
    """Cut, resize and flip as `Cropping` says."""

    numbers = 2 * TRIES + 3  # that `draw` uses: areas and shapes, the position, the flip's coin

    def __init__(self, settings: Cropping) -> None:
        self.settings = settings
        self.log_ratio = (math.log(settings.ratio[0]), math.log(settings.ratio[1]))

    def draw(self, numbers: Sequence[float], *, height: int, width: int, crop: int) -> Draw:
        """`box` (left, top, right, bottom) and `flip`, from `self.numbers` numbers in [0, 1)."""
        box = self.box(numbers[:-1], height, width)
        return {"box": np.array(box, dtype=np.int32), "flip": numbers[-1] < chance_of(self.settings.flip, crop)}

    def box(self, numbers: Sequence[float], height: int, width: int) -> Box:
        """The first try that fits into the picture, or is cut to fit, at a drawn position; or else the middle."""
        clip = self.settings.fit == "clip"
        for attempt in range(TRIES):
            area = height * width * between(numbers[2 * attempt], *self.settings.scale)
            ratio = math.exp(between(numbers[2 * attempt + 1], *self.log_ratio))
            across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if clip:
                across, down = min(max(across, 1), width), min(max(down, 1), height)
            if 0 < across <= width and 0 < down <= height:
                left = int(numbers[-2] * (width - across + 1))
                top = int(numbers[-1] * (height - down + 1))
                return left, top, left + across, top + down
        return middle(height, width, self.settings.ratio)

    def cut(self, image: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """The drawn crop of an RGB picture, uint8 `[S, S, 3]`."""
        left, top, right, bottom = np.asarray(draw["box"]).tolist()
        return self.flipped(PIXELS.of(image)[:, :, top:bottom, left:right], draw)

    def resize(self, part: Image.Image, draw: Draw) -> NDArray[np.uint8]:
        """The same of an RGB picture that is the drawn box already."""
        return self.flipped(pixels_of(part), draw)

    def flipped(self, region: Tensor, draw: Draw) -> NDArray[np.uint8]:
        """uint8 `[1, 3, H, W]` resized to `[S, S, 3]`, and turned round where the coin says so."""
        pixels = resized(region, self.settings.size, self.settings.interpolation)
        return (pixels.flip(1) if draw["flip"] else pixels).numpy()


def middle(height: int, width: int, ratio: tuple[float, float]) -> Box:
    """The largest box in the middle of the picture whose width by height is within `ratio`."""
    across, down = width, height
    if width < ratio[0] * height:
        down = max(round(width / ratio[0]), 1)
    elif width > ratio[1] * height:
        across = max(round(height * ratio[1]), 1)
    left, top = (width - across) // 2, (height - down) // 2
    return left, top, left + across, top + down


class PixelsOfLast:
    """The pixels of a picture, fetched from Pillow once for all crops that are cut from it in a row."""

    def __init__(self) -> None:
        self.last: tuple[Image.Image | None, Tensor] = (None, torch.empty(0))

    def of(self, image: Image.Image) -> Tensor:
        """uint8 `[1, 3, H, W]` of an RGB picture, its channels last in memory."""
        known, pixels = self.last
        if image is not known:
            pixels = pixels_of(image)
            self.last = (image, pixels)
        return pixels


def pixels_of(image: Image.Image) -> Tensor:
    """uint8 `[1, 3, H, W]` of an RGB picture, its channels last in memory."""
    values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return values.view(1, image.height, image.width, 3).permute(0, 3, 1, 2)


PIXELS = PixelsOfLast()  # of all view groups together: they cut from one picture in turn


def resized(region: Tensor, size: int, interpolation: str) -> Tensor:
    """uint8 `[1, 3, H, W]` at `[size, size, 3]`, filtered over as many pixels as become one."""
    return interpolate(region, size=(size, size), mode=interpolation, antialias=True)[0].permute(1, 2, 0)
