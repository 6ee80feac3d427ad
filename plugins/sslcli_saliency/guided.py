"""The guided filter: a map smoothed so that its edges come to lie on the picture's.

He et al., Guided Image Filtering, ECCV 2010: in every window the map is fitted as a linear function of the colours.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from sslcli_saliency.maps import Map, Picture

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def guided(found: Map, picture: Picture, *, radius: int, tolerance: float) -> Map:
    """Eq. 19 to 21, with all three colours as guide; colours that vary by less than `tolerance` do not count."""
    around = partial(mean_around, radius=radius)
    colours = [np.ascontiguousarray(picture[..., channel]) for channel in range(3)]
    means, middle = [around(colour) for colour in colours], around(found)
    shared = [around(colour * found) - mean * middle for colour, mean in zip(colours, means)]
    spread = {(i, j): around(colours[i] * colours[j]) - means[i] * means[j] for i, j in PAIRS}
    slopes = solved(spread, shared, tolerance)
    offset = middle - sum(slope * mean for slope, mean in zip(slopes, means))
    fitted = around(offset) + sum(around(slope) * colour for slope, colour in zip(slopes, colours))
    return np.asarray(fitted, dtype=np.float32)


def mean_around(values: NDArray[Any], radius: int) -> NDArray[Any]:
    """The mean over a square window of each pixel."""
    return np.asarray(uniform_filter(values, 2 * radius + 1))


def solved(spread: dict[tuple[int, int], Map], shared: list[Map], tolerance: float) -> list[NDArray[Any]]:
    """The slopes of each pixel's window: its 3 x 3 system, by cofactors."""
    rr, rg, rb, gg, gb, bb = (spread[pair] for pair in PAIRS)
    rr, gg, bb = rr + tolerance, gg + tolerance, bb + tolerance
    first = [gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb]
    second = [first[1], rr * bb - rb * rb, rb * rg - rr * gb]
    third = [first[2], second[2], rr * gg - rg * rg]
    determinant = rr * first[0] + rg * first[1] + rb * first[2]
    return [sum(c * s for c, s in zip(row, shared)) / determinant for row in (first, second, third)]
