"""Noise: of a sensor in the dark, of too few photons, of broken pixels (arXiv:1903.12261)."""

import numpy as np

from sslcli_robust.scaling import Chance, Pixels, error_scale

DEVIATION = (0.08, 0.12, 0.18, 0.26, 0.38)
PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)  # that a white pixel counts
BROKEN = (0.03, 0.06, 0.09, 0.17, 0.27)  # share of values that are black or white


def gaussian_noise(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A normal number added to every value."""
    return picture + chance.normal(0.0, DEVIATION[severity - 1] * error_scale(picture), picture.shape)


def shot_noise(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """Every value counted in photons: a Poisson number; its deviation goes with the root of their number."""
    photons = PHOTONS[severity - 1] / error_scale(picture) ** 2
    return chance.poisson(picture * photons) / photons


def impulse_noise(picture: Pixels, severity: int, chance: Chance) -> Pixels:
    """A share of all values, each colour by itself, is black or white: salt and pepper."""
    drawn = chance.random(picture.shape) / (BROKEN[severity - 1] * error_scale(picture))
    return np.where(drawn < 0.5, 0.0, np.where(drawn < 1.0, 1.0, picture))
