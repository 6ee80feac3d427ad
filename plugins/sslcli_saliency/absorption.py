"""Absorbing Markov chain: how long a walk from patch to patch, rather to like ones, takes to leave over the border.

Jiang et al., Saliency Detection via Absorbing Markov Chain, ICCV 2013.
"""

import numpy as np

from sslcli_saliency.maps import Values
from sslcli_saliency.superpixels import Pairs, Superpixels

SHARPNESS = 10.0  # how fast likeness falls with contrast, the greatest of the picture being 1


def absorbed_time(patches: Superpixels) -> Values:
    """Eq. 5: the steps that a walk from each patch takes on the average, `[N]`.

    Each patch on the border has a twin that absorbs, beside it and beside its neighbours.
    """
    itself = np.eye(len(patches.sizes))
    weights = likeness(patches) + itself
    absorbing = weights[:, patches.border].sum(axis=1)
    within = weights / (weights.sum(axis=1) + absorbing)[:, None]
    return np.asarray(np.linalg.solve(itself - within, np.ones(len(itself))))


def likeness(patches: Superpixels) -> Pairs:
    """Eq. 6: weights between neighbours, neighbours of neighbours, and all pairs on the border, `[N, N]`."""
    steps = patches.neighbours.astype(np.float32)
    reached = patches.neighbours | (steps @ steps > 0) | np.outer(patches.border, patches.border)
    np.fill_diagonal(reached, False)
    greatest = float(patches.contrasts.max()) or 1.0
    return np.where(reached, np.exp(-SHARPNESS * patches.contrasts / greatest), 0.0)
