"""The kinds of arrays that are handed on here, and the few things that every method does with them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.float32]  # [H, W, 3], RGB, 0 to 1
Map = NDArray[np.float32]  # [H, W], how likely a pixel is of the object, 0 to 1
Values = NDArray[np.float64]  # one number a superpixel, [N]


def stretched(values: NDArray[np.floating]) -> Values:
    """The same values from 0 to 1; all 0 where they do not differ."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low) if high - low > 1e-12 else np.zeros_like(values), np.float64)


def resized(found: NDArray[np.floating], shape: tuple[int, int]) -> Map:
    """A map from 0 to 1 in another size `(H, W)`, by bicubic interpolation."""
    picture = Image.fromarray(found.astype(np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(picture).clip(0.0, 1.0)


def otsu(values: Values, weights: Values) -> float:
    """The threshold that parts weighted values into the two groups most unlike each other (Otsu, 1979)."""
    order = np.argsort(values, kind="stable")
    ordered, counts = values[order], weights[order]
    below, sums = np.cumsum(counts), np.cumsum(counts * ordered)
    apart = below[:-1] * sums[-1] - below[-1] * sums[:-1]  # of the groups' means, times both weights
    between = apart**2 / (below[:-1] * (below[-1] - below[:-1]))
    split = int(np.argmax(between)) if len(between) else 0
    return float(ordered[split : split + 2].mean())
