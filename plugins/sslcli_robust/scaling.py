"""What a severity means in a picture of another size than the 224 pixels it was defined for (arXiv:1903.12261).

    lengths            radii, deviations of blurs, displacements          x  scale
    errors of a pixel  deviations of noise, shares of pixels, steps       x  root of scale

With `scale = side / 224` a blur covers the same part of the picture. Noise is another matter: scaled like a length it
would hardly be seen in a small picture, left alone it would drown it. The root lies between, and close to the values
that the same authors chose for 32 pixels (CIFAR-C).
"""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float64]  # [H, W, 3], 0 to 1
Plane = NDArray[np.float64]  # [H, W]
Chance = np.random.Generator

SIDE = 224


def scale_of(picture: Pixels) -> float:
    """How large a picture is beside the one that severities are defined for."""
    return float(min(picture.shape[:2])) / SIDE


def error_scale(picture: Pixels) -> float:
    """How strong errors of single pixels are beside those in a picture of 224 pixels."""
    return sqrt(scale_of(picture))
