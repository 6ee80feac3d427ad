"""Robust background detection: what hangs together with the picture's border is background.

Zhu et al., Saliency Optimization from Robust Background Detection, CVPR 2014; constants as there.
"""

import numpy as np

from sslcli_saliency.maps import Values, stretched
from sslcli_saliency.superpixels import Superpixels, distances

COLOUR_SPREAD = 7.0  # CIELAB; 10 in the paper, 7 in the authors' code
BORDER_SPREAD = 1.0
PLACE_SPREAD = 0.25  # shares of the longer side
BACKGROUND_WEIGHT = 5.0
FLOOR = 0.1  # the weight of an edge between colours as different as can be


def robust_background(patches: Superpixels) -> Values:
    """Section 5: contrast against the background, and background, brought together by least squares, `[N]`."""
    background = background_probability(border_connectivity(patches))
    foreground = stretched(background_weighted_contrast(patches, background))
    return optimised(patches, background, foreground)


def border_connectivity(patches: Superpixels) -> Values:
    """Eq. 3 to 5: the border that a patch's surroundings have, by the root of their area, `[N]`."""
    near = np.exp(-(patches.ways**2) / (2 * COLOUR_SPREAD**2))
    found: Values = (near @ patches.border) / np.sqrt(near.sum(axis=1))
    return found


def background_probability(connectivity: Values) -> Values:
    """Eq. 7: near 1 for a patch that hangs together with the border, `[N]`."""
    return np.asarray(1.0 - np.exp(-(connectivity**2) / (2 * BORDER_SPREAD**2)))


def background_weighted_contrast(patches: Superpixels, background: Values) -> Values:
    """Eq. 6: how much a patch differs from the background, from the near more than from the far, `[N]`."""
    near = np.exp(-(distances(patches.centres) ** 2) / (2 * PLACE_SPREAD**2))
    found: Values = (patches.contrasts * near) @ background
    return found


def optimised(patches: Superpixels, background: Values, foreground: Values) -> Values:
    """Eq. 9: values near 0 on the background, near 1 on the foreground, and near each other where alike, `[N]`.

    The weight of the background is 5, as in the authors' code.
    """
    alike = np.exp(-(patches.contrasts**2) / (2 * COLOUR_SPREAD**2)) + FLOOR
    weights = np.where(patches.neighbours, alike, 0.0)
    pull = BACKGROUND_WEIGHT * background + foreground
    system = np.diag(weights.sum(axis=1) + pull + 1e-9) - weights  # a little, lest a picture of one colour be singular
    return np.asarray(np.linalg.solve(system, foreground))
