"""Geodesic saliency: how much colours change on the easiest way from a patch to the picture's border.

Wei et al., Geodesic Saliency Using Background Priors, ECCV 2012, on superpixels.
"""

import numpy as np

from sslcli_saliency.maps import Values
from sslcli_saliency.superpixels import Superpixels

STEPS = 3.0  # usual ones: a way of this length is a middling one
LEAST = 2.0  # CIELAB; what a picture's usual step may come to on plain grounds


def geodesic_saliency(patches: Superpixels) -> Values:
    """How long the shortest way to the border is (eq. 1), in the measure of this picture's usual steps, `[N]`.

    So on a plain ground a faint colour is as much of an object as a strong one, and on a rough one it is not.
    """
    lengths = patches.ways[:, patches.border].min(axis=1)
    middling = max(STEPS * patches.usual_step, LEAST)
    return np.asarray(1.0 - np.exp(-(lengths**2) / (2 * middling**2)))
