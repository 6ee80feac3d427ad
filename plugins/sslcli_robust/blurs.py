"""Blur: out of focus, behind ribbed glass, by a hand that moves, by a lens that zooms (arXiv:1903.12261).

A kernel is made of points with weights, each shared out among the four pixels around it. So a disc of half a pixel
still blurs a little, and the kernels of small pictures are those of large ones made smaller.
"""

from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import fftconvolve

from sslcli_robust.scaling import Chance, Pixels, Plane, scale_of

Places = NDArray[np.floating] | NDArray[np.integer]  # [2, H, W], down and across
Points = NDArray[np.float64]  # [P, 2], down and across, in pixels from the middle

DISC = (3.0, 4.0, 6.0, 8.0, 10.0)  # radius
GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # deviation, reach, times
MOTION = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))  # radius, deviation
TILT = 45.0  # degrees that the motion is off the horizontal, at most
ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))  # ends before this, step
FINE = 33  # points across a disc


def defocus_blur(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """Every point of the picture a disc."""
    return convolved(picture, kernel(disc(DISC[severity - 1] * scale_of(picture))))


def glass_blur(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """Pixels taken from a random place nearby, some times over, between two slight blurs."""
    deviation, reach, times = GLASS[severity - 1]
    scale = scale_of(picture)
    blurred = smooth(picture, deviation * scale)
    for _ in range(times):
        blurred = scattered(blurred, reach * scale, chance)
    return smooth(blurred, deviation * scale)


def motion_blur(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """Every point a trail that fades."""
    radius, deviation = (length * scale_of(picture) for length in MOTION[severity - 1])
    return convolved(picture, kernel(*trail(radius, deviation, chance.uniform(-TILT, TILT))))


def zoom_blur(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """The mean of the picture and of its middle, ever more enlarged."""
    end, step = ZOOM[severity - 1]
    enlarged = [zoomed(picture, factor) for factor in np.arange(1.0, end, step)]
    return np.asarray(np.mean([picture, *enlarged], axis=0))


def kernel(points: Points, weights: NDArray[np.float64] | None = None) -> Plane:
    """A square of odd side that sums to one: the weights of points, shared out among the pixels around each."""
    weights = np.ones(len(points)) if weights is None else weights
    middle = int(np.ceil(np.abs(points).max())) + 1
    made = np.zeros((2 * middle + 1, 2 * middle + 1))
    corner = np.floor(points).astype(int)
    part = points - corner
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - down - part[:, 0]) * np.abs(1 - across - part[:, 1])
        np.add.at(made, (corner[:, 0] + down + middle, corner[:, 1] + across + middle), weights * share)
    return np.asarray(made / made.sum())


def disc(radius: float) -> Points:
    """Points evenly spread over a disc."""
    line = np.linspace(-1.0, 1.0, FINE)
    down, across = np.meshgrid(line, line, indexing="ij")
    inside = down**2 + across**2 <= 1.0
    return radius * np.stack([down[inside], across[inside]], axis=1)


def trail(radius: float, deviation: float, degrees: float) -> tuple[Points, NDArray[np.float64]]:
    """Points along a line of twice the radius, from the middle on, and their weights: half of a normal curve."""
    along = np.linspace(0.0, 2 * radius, 8 * int(np.ceil(radius)) + 1)
    direction = np.array([sin(radians(degrees)), cos(radians(degrees))])
    return along[:, None] * direction, np.exp(-0.5 * (along / deviation) ** 2)


def convolved(layer: NDArray[np.float64], weights: Plane) -> NDArray[np.float64]:
    """A picture `[H, W, C]` or a plane `[H, W]` under a kernel, reflected over its edges."""
    middle = len(weights) // 2
    around = [(middle, middle)] * 2 + [(0, 0)] * (layer.ndim - 2)
    shaped = weights.reshape(weights.shape + (1,) * (layer.ndim - 2))
    blurred: NDArray[np.float64] = fftconvolve(np.pad(layer, around, "symmetric"), shaped, "valid", axes=(0, 1))
    return blurred


def smooth(picture: Pixels, deviation: float) -> Pixels:
    """A picture under a normal curve."""
    blurred: Pixels = gaussian_filter(picture, (deviation, deviation, 0.0))
    return blurred


def scattered(picture: Pixels, reach: float, chance: Chance) -> Pixels:
    """Every pixel from a place at most `reach` away; between pixels where that is less than one."""
    away = chance.uniform(-reach, reach, (2, *picture.shape[:2]))
    return taken(picture, np.indices(picture.shape[:2]) + (np.rint(away) if reach >= 1.0 else away))


def taken(picture: Pixels, where: Places) -> Pixels:
    """The picture's colours at places `[2, H, W]`, down and across; outside it is mirrored."""
    planes = [map_coordinates(picture[..., colour], where, order=1, mode="mirror") for colour in range(3)]
    return np.stack(planes, axis=-1)


def zoomed(picture: Pixels, factor: float) -> Pixels:
    """The middle of a picture, enlarged to its size."""
    height, width = picture.shape[:2]
    left, top = (width - width / factor) / 2, (height - height / factor) / 2
    image = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    box = (left, top, width - left, height - top)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box)) / 255.0
