"""Weather: snow that falls, frost on the lens, fog, bright light (arXiv:1903.12261).

Snow and frost are drawn at 224 pixels and made as large as the picture. The released frost is a part of one of six
photographs; here these are noise drawn out into needles, for a package should not have to carry pictures.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from sslcli_robust.blurs import convolved, kernel, trail
from sslcli_robust.scaling import SIDE, Chance, Pixels, Plane

# mean and deviation of the flakes' noise, their size, threshold, radius and deviation of their fall, share of the scene
SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
)
FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))  # shares of the scene and of the frost
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # how much, how smooth
LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)  # added to the value of HSV
FALL = (-135.0, -45.0)  # degrees
PANES, PANE = 6, 320  # how many of ice, and their side
NEEDLES, NEEDLE, RARE = 7, (24.0, 14.0), 2.2  # directions; radius and deviation of one; deviations of a seed
ICE = np.array([0.82, 0.91, 1.0])  # its colour
GREY = np.array([0.299, 0.587, 0.114])


def snow(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A scene made pale, with flakes and their streaks in front of it."""
    mean, deviation, size, threshold, radius, fall, kept = SNOW[severity - 1]
    noise = enlarged(chance.normal(mean, deviation, (SIDE, SIDE)), size)
    flakes = np.clip(np.where(noise < threshold, 0.0, noise), 0.0, 1.0)
    streaks = convolved(flakes, kernel(*trail(radius, fall, chance.uniform(*FALL))))
    layer = resized(streaks + np.rot90(streaks, 2), picture.shape)[..., None]
    pale = np.maximum(picture, (picture @ GREY)[..., None] * 1.5 + 0.5)
    return np.asarray(kept * picture + (1 - kept) * pale + layer)


def frost(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A scene behind ice."""
    scene, ice = FROST[severity - 1]
    pane = crystals(int(chance.integers(PANES)))
    top, left = chance.integers(PANE - SIDE, size=2)
    part = np.rot90(pane[top : top + SIDE, left : left + SIDE], int(chance.integers(4)))
    return np.asarray(scene * picture + ice * resized(part, picture.shape)[..., None] * ICE)


def fog(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A cloud added, and all made as dark again as the brightest place was."""
    amount, smoothness = FOG[severity - 1]
    height, width = picture.shape[:2]
    cloud = plasma(1 << (max(height, width) - 1).bit_length(), smoothness, chance)[:height, :width, None]
    brightest = picture.max()
    return np.asarray((picture + amount * cloud) * brightest / (brightest + amount))


def brightness(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """More of HSV's value; hue and saturation stay."""
    value = picture.max(axis=-1, keepdims=True)
    brighter = np.minimum(value + LIGHT[severity - 1], 1.0)
    return np.asarray(np.where(value > 0.0, picture * brighter / np.maximum(value, 1e-9), brighter))


@cache
def crystals(number: int) -> Plane:
    """A pane of ice, always the same for its number: needles in several directions, 0 to 1, `[320, 320]`."""
    chance = np.random.default_rng(number)
    needles = np.zeros((PANE, PANE))
    for turn in range(NEEDLES):
        seeds = np.maximum(chance.normal(size=(PANE, PANE)) - RARE, 0.0)
        degrees = 360.0 * (turn + chance.random()) / NEEDLES
        needles = np.maximum(needles, convolved(seeds, kernel(*trail(*NEEDLE, degrees))))
    grain = gaussian_filter(chance.normal(size=(PANE, PANE)), 1.0)
    rime = plasma(512, 2.0, chance)[:PANE, :PANE]
    sharp = np.clip(needles / np.quantile(needles, 0.99), 0.0, 1.0)
    return np.asarray(np.clip(rime * (0.35 + 0.85 * sharp + 0.25 * grain), 0.0, 1.0))


def plasma(side: int, smoothness: float, chance: Chance) -> Plane:
    """A cloud by midpoint displacement, 0 to 1, `[side, side]`, a power of two; it goes on over its edges.

    Each half step adds noise whose deviation is less by the square of `smoothness`.
    """
    field = np.zeros((side, side))
    step, size = side, 1.0
    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        middle = mean_of(corners, np.roll(corners, -1, 0), np.roll(corners, -1, 1), np.roll(corners, -1, (0, 1)))
        field[half::step, half::step] = middle + chance.uniform(-size, size, middle.shape)
        middle = field[half::step, half::step]
        above = mean_of(corners, np.roll(corners, -1, 1), middle, np.roll(middle, 1, 0))
        field[::step, half::step] = above + chance.uniform(-size, size, above.shape)
        beside = mean_of(corners, np.roll(corners, -1, 0), middle, np.roll(middle, 1, 1))
        field[half::step, ::step] = beside + chance.uniform(-size, size, beside.shape)
        step, size = half, size / smoothness**2
    return np.asarray((field - field.min()) / max(np.ptp(field), 1e-9))


def mean_of(*planes: Plane) -> Plane:
    """The mean of four neighbours."""
    return np.asarray(sum(planes) / len(planes))


def enlarged(plane: Plane, factor: float) -> Plane:
    """The middle of a plane, enlarged to its size."""
    side = len(plane)
    edge = (side - side / factor) / 2
    return from_image(Image.fromarray(plane.astype(np.float32)), side, side, (edge, edge, side - edge, side - edge))


def resized(plane: Plane, shape: tuple[int, ...]) -> Plane:
    """A plane as large as a picture of this shape; a smaller one is an average."""
    return from_image(Image.fromarray(plane.astype(np.float32)), shape[0], shape[1])


def from_image(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float64]:
    """A part of an image, or all of it, in another size."""
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box), dtype=np.float64)
