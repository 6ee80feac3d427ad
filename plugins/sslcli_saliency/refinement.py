"""The last touches to a mask: its edges on the picture's, no crumbs, no holes, a little wider than it must be."""

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, label

from sslcli.data.masks import Mask
from sslcli_saliency.guided import guided
from sslcli_saliency.maps import Map, Picture

REACH = 8  # pixels, as far as edges may move
TOLERANCE = 1e-3  # a variance: fainter edges of the picture draw nothing to themselves
CRUMB = 0.005  # of the picture, and
PART = 0.1  # of the largest piece: what is smaller than both is dropped


def refined(found: Map, picture: Picture, *, dilation: float) -> Mask:
    """The mask of a map `[H, W]` that is 1 on the object, widened by `dilation` times the shorter side."""
    mask = binary_fill_holes(guided(found, picture, radius=REACH, tolerance=TOLERANCE) > 0.5)
    return widened(without_crumbs(np.asarray(mask)), round(dilation * min(mask.shape)))


def without_crumbs(mask: Mask) -> Mask:
    """The mask without its smallest pieces."""
    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # all that is no piece
    kept = sizes >= min(CRUMB * mask.size, PART * sizes.max())
    kept[0] = False
    return np.asarray(kept[pieces])


def widened(mask: Mask, pixels: int) -> Mask:
    """The mask, and what lies within so many pixels of it."""
    if not pixels or not mask.any():
        return mask
    return np.asarray(distance_transform_edt(~mask) <= pixels)
