"""CIELAB, in which distances are about as people see them."""

import numpy as np
from numpy.typing import NDArray

from sslcli_saliency.maps import Picture

XYZ = np.array(  # of linear sRGB, divided by the white of daylight D65 (IEC 61966-2-1)
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
) / np.array([[0.95047], [1.0], [1.08883]])
LEVELS = np.arange(256) / 255.0
LINEAR = np.where(LEVELS <= 0.04045, LEVELS / 12.92, ((LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)


def lab_of(picture: Picture) -> NDArray[np.float32]:
    """A picture `[H, W, 3]` in CIELAB: lightness 0 to 100, then green to red and blue to yellow."""
    linear = LINEAR[np.rint(picture * 255.0).astype(np.uint8)]
    x, y, z = np.moveaxis(bent(linear @ XYZ.T.astype(np.float32)), -1, 0)
    return np.stack([116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)], axis=-1)


def bent(share: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cube root that CIELAB is made of, a line near black."""
    return np.where(share > 216.0 / 24389.0, np.cbrt(share), share * (841.0 / 108.0) + 4.0 / 29.0)
