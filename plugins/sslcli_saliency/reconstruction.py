"""Dense reconstruction: what principal components of the border's patches cannot explain.

Li et al., Saliency Detection via Dense and Sparse Reconstruction, ICCV 2013, the dense half of it.
"""

import numpy as np
from numpy.typing import NDArray

from sslcli_saliency.maps import Values
from sslcli_saliency.superpixels import Superpixels

KEPT = 0.95  # of the border's variance


def reconstruction_error(patches: Superpixels) -> Values:
    """Eq. 4: the error of each patch, by colour and place, in the components of those on the border, `[N]`."""
    described = np.hstack([patches.colours / 100.0, patches.centres])
    mean = described[patches.border].mean(axis=0)
    apart = described - mean
    basis = components(apart[patches.border])
    missed = apart - apart @ basis @ basis.T
    return np.asarray(np.sqrt((missed**2).sum(axis=1)))


def components(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """As few principal directions of centred points `[M, D]` as hold most of their variance, `[D, K]`."""
    _, sizes, directions = np.linalg.svd(points, full_matrices=False)
    shares = np.cumsum(sizes**2) / max(float((sizes**2).sum()), 1e-12)
    return np.asarray(directions[: int(np.searchsorted(shares, KEPT)) + 1].T)
