"""RandAugment (Cubuk et al. 2019, arXiv:1909.13719) on a whole picture, or on what a crop needs of it.

The operations and their magnitudes are those of timm's `rand-m9-mstd0.5-inc1`: each does more as the magnitude grows
from 0 to 10. Several operations are drawn, and each is applied or not by a coin of its own.
"""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from sslcli.data.augmentation import Draw
from sslcli.data.operations import BICUBIC, BILINEAR, OPERATIONS, Box, Drawn, Operation
from sslcli.data.settings import RandAugment, chance_of

NUMBERS_EACH = 6  # which operation, its coin, its sign, its magnitude (two), its interpolation
APPLY = tuple(OPERATIONS.values())
NAMES = tuple(OPERATIONS)
Step = tuple[Operation, float, Image.Resampling]  # its strength in [-1, 1], its interpolation


class RandAugmentation:
    """RandAugment as the options say."""

    def __init__(self, settings: RandAugment) -> None:
        self.settings = settings
        self.numbers = 1 + NUMBERS_EACH * settings.operations
        self.known = [NAMES.index(name) for name in settings.names]
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
        steps = self.steps(draw)
        return self.part(image, steps, (0, 0, *image.size)) if steps else image

    def steps(self, draw: Draw) -> list[Step]:
        """The operations that are applied, in their order."""
        rows = np.asarray(draw["rand_augment"]).tolist()
        return [
            (APPLY[int(operation)], strength, BICUBIC if bicubic else BILINEAR)
            for operation, strength, bicubic in rows
            if operation >= 0
        ]

    def part(self, image: Image.Image, steps: Sequence[Step], box: Box) -> Image.Image:
        """The box cut out of the picture with the steps applied to all of it; no more is computed than it needs."""
        if not steps:
            return image.crop(box)
        *before, (operation, strength, resampling) = steps
        drawn = Drawn(strength, image.size, self.fill, resampling)
        return operation.part(lambda source: self.part(image, before, source), box, drawn)
