"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719) on a whole picture, with Pillow.

The operations and their magnitudes are those of timm's `rand-m9-mstd0.5-inc1`: each does more as the magnitude grows
from 0 to 10. Several operations are drawn, and each is applied or not by a coin of its own.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from sslcli.data.augmentation import Draw
from sslcli.data.settings import RandAugment, chance_of

NUMBERS_EACH = 6  # which operation, its coin, its sign, its magnitude (two), its interpolation
Fill = tuple[int, int, int]
Apply = Callable[[Image.Image, float, Fill, Image.Resampling], Image.Image]  # (picture, signed strength, …)
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


class RandAugmentation:
    """RandAugment as the options say."""

    def __init__(self, settings: RandAugment) -> None:
        self.settings = settings
        self.numbers = 1 + NUMBERS_EACH * settings.operations
        self.known = [list(OPERATIONS).index(name) for name in settings.names]
        red, green, blue = settings.fill
        self.fill = (round(red), round(green), round(blue))

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`rand_augment [operations, 3]`: which (-1 for none), its signed strength in [-1, 1], bicubic or bilinear."""
        wanted = numbers[0] < chance_of(self.settings.probability, crop)
        pool = list(self.known)
        rows = [self.draw_one(numbers[at : at + NUMBERS_EACH], pool) for at in range(1, self.numbers, NUMBERS_EACH)]
        drawn = np.array(rows, dtype=np.float64)
        drawn[:, 0] = np.where(wanted, drawn[:, 0], -1.0)
        return {"rand_augment": drawn}

    def draw_one(self, numbers: Sequence[float], pool: list[int]) -> tuple[float, float, float]:
        """One operation, taken out of the pool where they are to be distinct."""
        place = int(numbers[0] * len(pool))
        operation = pool.pop(place) if self.settings.distinct else pool[place]
        applied = numbers[1] < self.settings.apply
        sign = 1.0 if numbers[2] < 0.5 else -1.0
        strength = self.magnitude(numbers[3], numbers[4]) / 10.0
        bicubic = {"bicubic": True, "bilinear": False}.get(self.settings.interpolation, numbers[5] < 0.5)
        return operation if applied else -1, sign * strength, bicubic

    def magnitude(self, first: float, second: float) -> float:
        """A normal number around the magnitude, kept in [0, 10] (Box and Muller 1958)."""
        normal = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
        return min(max(self.settings.magnitude + self.settings.spread * normal, 0.0), 10.0)

    def __call__(self, image: Image.Image, draw: Draw) -> Image.Image:
        """The picture with its drawn operations applied, of the same size."""
        for operation, strength, bicubic in np.asarray(draw["rand_augment"]).tolist():
            if operation >= 0:
                apply = APPLY[int(operation)]
                image = apply(image, strength, self.fill, BICUBIC if bicubic else BILINEAR)
        return image


def pointwise(change: Callable[[Image.Image, float], Image.Image]) -> Apply:
    """An operation on colours, which takes a strength in [0, 1] and moves nothing."""
    return lambda image, strength, fill, resampling: change(image, abs(strength))


def enhancement(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Apply:
    """An enhancement by a factor of 0.1 to 1.9."""
    return lambda image, strength, fill, resampling: kind(image).enhance(1.0 + 0.9 * strength)


def affine(image: Image.Image, rows: Sequence[float], fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Each pixel is fetched from where the two rows of the matrix say."""
    return image.transform(image.size, Image.Transform.AFFINE, tuple(rows), resampling, fillcolor=fill)


def rotate(image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Turned by up to 30 degrees around the middle."""
    return image.rotate(30.0 * strength, resampling, fillcolor=fill)


def shear_x(image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Rows moved sideways, by up to 0.3 pixels a row."""
    return affine(image, (1, 0.3 * strength, 0, 0, 1, 0), fill, resampling)


def shear_y(image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Columns moved up or down, by up to 0.3 pixels a column."""
    return affine(image, (1, 0, 0, 0.3 * strength, 1, 0), fill, resampling)


def translate_x(image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Moved sideways by up to 0.45 of the width."""
    return affine(image, (1, 0, 0.45 * strength * image.width, 0, 1, 0), fill, resampling)


def translate_y(image: Image.Image, strength: float, fill: Fill, resampling: Image.Resampling) -> Image.Image:
    """Moved up or down by up to 0.45 of the height."""
    return affine(image, (1, 0, 0, 0, 1, 0.45 * strength * image.height), fill, resampling)


def posterise(image: Image.Image, strength: float) -> Image.Image:
    """Values cut to 4 bits at the least strength and to none, black, at the greatest."""
    dropped = 8 - (4 - int(4 * strength))
    return image.point([value >> dropped << dropped for value in range(256)] * 3)


def solarise_add(image: Image.Image, strength: float) -> Image.Image:
    """Up to 110 added to values below 128."""
    added = int(110 * strength)
    return image.point([min(value + added, 255) if value < 128 else value for value in range(256)] * 3)


OPERATIONS: dict[str, Apply] = {
    "auto_contrast": pointwise(lambda image, strength: ImageOps.autocontrast(image)),
    "equalise": pointwise(lambda image, strength: ImageOps.equalize(image)),
    "invert": pointwise(lambda image, strength: ImageOps.invert(image)),
    "rotate": rotate,
    "posterise": pointwise(posterise),
    "solarise": pointwise(lambda image, strength: ImageOps.solarize(image, 256 - int(256 * strength))),
    "solarise_add": pointwise(solarise_add),
    "saturation": enhancement(ImageEnhance.Color),
    "contrast": enhancement(ImageEnhance.Contrast),
    "brightness": enhancement(ImageEnhance.Brightness),
    "sharpness": enhancement(ImageEnhance.Sharpness),
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
}
APPLY = tuple(OPERATIONS.values())
