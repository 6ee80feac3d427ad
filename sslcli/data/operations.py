"""The operations of RandAugment on pictures, with Pillow, each able to do no more than a part of the picture asks for.

What they do, and how strongly, is that of timm's `rand-m9-mstd0.5-inc1`: each does more as its strength grows from 0
to 1. A crop needs a part of the changed picture only, and most operations make a part out of little more than it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageEnhance, ImageOps

Fill = tuple[int, int, int]
Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels of the picture
Rows = tuple[float, float, float, float, float, float]  # (a, b, c, d, e, f): fetched from (ax + by + c, dx + ey + f)
Fetch = Callable[[Box], Image.Image]  # a part of the picture as it is before the operation
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
GRAIN = 1 << 32  # coordinates in its fractions are exact in 64 bits: a part is to the bit what it is in the whole
REACH = 3  # pixels around a place that its interpolation looks at, at most


@dataclass(frozen=True)
class Drawn:
    """What is drawn for an operation, and what it must know of the picture."""

    strength: float  # in [-1, 1]; the sign is for operations that have two directions
    size: Size  # of the whole picture
    fill: Fill  # colour of what comes in from outside
    resampling: Image.Resampling


class Operation(ABC):
    """One operation on an RGB picture."""

    def __call__(self, image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
        """The whole picture, changed."""
        return self.part(image.crop, (0, 0, *image.size), Drawn(strength, image.size, fill, resampling))

    @abstractmethod
    def part(self, fetch: Fetch, box: Box, drawn: Drawn) -> Image.Image:
        """A part of the changed picture, from parts of the unchanged one."""


class Local(Operation):
    """Changes a pixel by what it is, and by what is up to `reach` pixels around it."""

    def __init__(self, change: Callable[[Image.Image, float], Image.Image], reach: int = 0) -> None:
        self.change, self.reach = change, reach

    def part(self, fetch: Fetch, box: Box, drawn: Drawn) -> Image.Image:
        """The part, from itself and its surroundings."""
        source = around(box, self.reach, drawn.size)
        changed = self.change(fetch(source), drawn.strength)
        return changed if source == box else changed.crop(moved(box, -source[0], -source[1]))


class Statistical(Operation):
    """Changes a pixel by what it is and by what values the whole picture has."""

    def __init__(self, change: Callable[[Image.Image, float], Image.Image]) -> None:
        self.change = change

    def part(self, fetch: Fetch, box: Box, drawn: Drawn) -> Image.Image:
        """The part, from the whole picture."""
        return self.change(fetch((0, 0, *drawn.size)), drawn.strength).crop(box)


class Affine(Operation):
    """Moves pixels along straight lines."""

    def __init__(self, rows: Callable[[float, Size], Rows]) -> None:
        self.rows = rows

    def part(self, fetch: Fetch, box: Box, drawn: Drawn) -> Image.Image:
        """The part, from where it comes from."""
        a, b, c, d, e, f = (round(value * GRAIN) / GRAIN for value in self.rows(drawn.strength, drawn.size))
        left, top, right, bottom = box
        corners = [(a * x + b * y + c, d * x + e * y + f) for x in (left, right) for y in (top, bottom)]
        source = around(enclosing(corners), REACH, drawn.size)
        size = (right - left, bottom - top)
        if source[0] >= source[2] or source[1] >= source[3]:
            return Image.new("RGB", size, drawn.fill)
        here = (a, b, a * left + b * top + c - source[0], d, e, d * left + e * top + f - source[1])
        return fetch(source).transform(size, Image.Transform.AFFINE, here, drawn.resampling, fillcolor=drawn.fill)


def around(box: Box, reach: int, size: Size) -> Box:
    """A box with `reach` more pixels on each side, as far as there is a picture."""
    left, top, right, bottom = box
    return max(left - reach, 0), max(top - reach, 0), min(right + reach, size[0]), min(bottom + reach, size[1])


def moved(box: Box, across: int, down: int) -> Box:
    """A box moved by some pixels."""
    return box[0] + across, box[1] + down, box[2] + across, box[3] + down


def enclosing(points: list[tuple[float, float]]) -> Box:
    """The smallest box of whole pixels around some points."""
    across, down = zip(*points)
    return math.floor(min(across)), math.floor(min(down)), math.ceil(max(across)), math.ceil(max(down))


def rotation(strength: float, size: Size) -> Rows:
    """Turned by up to 30 degrees around the middle, against the clock where positive."""
    angle = math.radians(-30.0 * strength)
    cos, sin, x, y = math.cos(angle), math.sin(angle), size[0] / 2, size[1] / 2
    return cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y


def enhancement(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Callable[[Image.Image, float], Image.Image]:
    """An enhancement by a factor of 0.1 to 1.9."""
    return lambda image, strength: kind(image).enhance(1.0 + 0.9 * strength)


def posterise(image: Image.Image, strength: float) -> Image.Image:
    """Values cut to 4 bits at the least strength and to none, black, at the greatest."""
    dropped = 8 - (4 - int(4 * abs(strength)))
    return image.point([value >> dropped << dropped for value in range(256)] * 3)


def solarise(image: Image.Image, strength: float) -> Image.Image:
    """Values of at least 256, and at the greatest strength of at least 0, inverted."""
    return ImageOps.solarize(image, 256 - int(256 * abs(strength)))


def solarise_add(image: Image.Image, strength: float) -> Image.Image:
    """Up to 110 added to values below 128."""
    added = int(110 * abs(strength))
    return image.point([min(value + added, 255) if value < 128 else value for value in range(256)] * 3)


OPERATIONS: dict[str, Operation] = {
    "auto_contrast": Statistical(lambda image, strength: ImageOps.autocontrast(image)),
    "equalise": Statistical(lambda image, strength: ImageOps.equalize(image)),
    "invert": Local(lambda image, strength: ImageOps.invert(image)),
    "rotate": Affine(rotation),
    "posterise": Local(posterise),
    "solarise": Local(solarise),
    "solarise_add": Local(solarise_add),
    "saturation": Local(enhancement(ImageEnhance.Color)),
    "contrast": Statistical(enhancement(ImageEnhance.Contrast)),
    "brightness": Local(enhancement(ImageEnhance.Brightness)),
    "sharpness": Local(enhancement(ImageEnhance.Sharpness), reach=1),
    "shear_x": Affine(lambda strength, size: (1, 0.3 * strength, 0, 0, 1, 0)),  # 0.3 pixels a row
    "shear_y": Affine(lambda strength, size: (1, 0, 0, 0.3 * strength, 1, 0)),
    "translate_x": Affine(lambda strength, size: (1, 0, 0.45 * strength * size[0], 0, 1, 0)),  # 0.45 of the width
    "translate_y": Affine(lambda strength, size: (1, 0, 0, 0, 1, 0.45 * strength * size[1])),
}
