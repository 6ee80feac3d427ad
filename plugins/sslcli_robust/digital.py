"""What becomes of a picture in machines: contrast lost, bent, coarse pixels, stored as a small JPEG (arXiv:1903.12261).

Coarse pixels and the steps of JPEG are errors of pixels, and scaled as noise is: JPEG's blocks are of 8 pixels in a
picture of any size.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from sslcli_robust.blurs import Places, taken
from sslcli_robust.scaling import Chance, Pixels, Plane, error_scale

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)  # what is left
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)  # pixels a side that are left
JPEG = (25, 18, 15, 10, 7)  # quality
# of the side: deviation of the displacement, how far it is smooth, how far corners move; from the released amounts,
# whose displacement is uniform noise x amount, blurred: a deviation of amount / sqrt(3) / (2 sqrt(pi) smooth)
ELASTIC = (
    (0.00208, 0.7625, 0.1089),
    (0.01821, 0.0871, 0.2179),
    (0.00364, 0.0109, 0.0218),
    (0.00509, 0.0109, 0.0218),
    (0.00873, 0.0109, 0.0218),
)
LEAST_SMOOTH = 0.7  # pixels: below, neighbours would be torn apart


def contrast(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """Colours drawn together to their mean over the picture."""
    mean = picture.mean(axis=(0, 1), keepdims=True)
    return np.asarray((picture - mean) * CONTRAST[severity - 1] + mean)


def elastic(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A picture sheared and bent."""
    height, width = picture.shape[:2]
    side = min(height, width)
    deviation, smooth, corners = (share * side for share in ELASTIC[severity - 1])
    bent = np.indices((height, width)) + np.stack(
        [displacement((height, width), deviation, smooth, chance) for _ in range(2)]
    )
    return taken(picture, sheared(bent, corners, chance))


def pixelate(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A picture made small, and large again by repeating its pixels."""
    coarse = 1.0 + (1.0 / PIXELATE[severity - 1] - 1.0) * error_scale(picture)
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    width, height = (max(int(side / coarse), 1) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(image.size, Image.Resampling.BOX)) / 255.0


def jpeg(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A picture stored as a JPEG of low quality."""
    stored = BytesIO()
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    image.save(stored, "JPEG", quality=quality_of(JPEG[severity - 1], error_scale(picture)))
    with Image.open(stored) as read:
        return np.asarray(read.convert("RGB")) / 255.0


def quality_of(quality: int, scale: float) -> int:
    """The quality whose steps are those of another one times `scale`.

    The tables of a JPEG are those of quality 50 times 50 / q below it, and 2 - q / 50 above.
    """
    steps = (50.0 / quality if quality < 50 else 2.0 - quality / 50.0) * scale
    return int(np.clip(round(50.0 / steps if steps > 1.0 else 100.0 - 50.0 * steps), 1, 95))


def displacement(shape: tuple[int, int], deviation: float, smooth: float, chance: Chance) -> Plane:
    """Smooth noise of this deviation, as far as `smooth` pixels, `[H, W]`, around 0."""
    smooth = max(smooth, LEAST_SMOOTH)
    side = max(shape)
    if smooth > side / 2:  # it moves the picture as a whole
        return np.full(shape, chance.normal(0.0, deviation))
    noise: Plane = gaussian_filter(chance.uniform(-1.0, 1.0, shape), smooth, mode="reflect", truncate=3.0)
    return np.asarray(noise / max(noise.std(), 1e-9) * deviation)


def sheared(places: Places, reach: float, chance: Chance) -> NDArray[np.float64]:
    """Where places `[2, H, W]` lay before three points around the middle moved, each by up to `reach` a side."""
    shape = np.array(places.shape[1:], dtype=np.float64)
    middle, third = shape // 2, min(shape) // 3
    before = middle + third * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    after = before + chance.uniform(-reach, reach, before.shape)
    affine = np.linalg.solve(np.column_stack([after, np.ones(3)]), before)  # [3, 2]: from after to before
    flat = np.column_stack([places.reshape(2, -1).T, np.ones(places[0].size)]) @ affine
    return np.asarray(flat.T.reshape(places.shape))
