"""Pictures on a plain ground, such as scans, icons and goods: all is object that is not ground.

Nothing need be guessed there, so a thing that touches the border, or is in part of the ground's colour, is found whole.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from sslcli.data.masks import Mask

NEAR = 4.0  # CIELAB, from the ground's colour: noise and compression
CORNERS = 3  # of the four, that lie on the ground at least
SHARE = 0.4  # of the border, that does at least
INTERRUPTED = 6  # times, at most, that something on the border interrupts the ground: a rough ground has specks there


def object_on_plain_ground(lab: NDArray[np.float32]) -> Mask | None:
    """The mask of a picture in CIELAB `[H, W, 3]` whose ground is of one colour; None where it is not."""
    corners = np.stack([lab[0, 0], lab[0, -1], lab[-1, 0], lab[-1, -1]])
    like = np.linalg.norm(corners[:, None] - corners, axis=2) < NEAR
    most = int(like.sum(axis=1).argmax())
    ground = np.linalg.norm(lab - corners[most], axis=2) < NEAR
    border = ring(ground)
    interrupted = np.count_nonzero(border & ~np.roll(border, -1))
    if like[most].sum() < CORNERS or border.mean() < SHARE or interrupted > INTERRUPTED:
        return None
    regions, _ = label(ground)
    outer = np.unique(ring(regions))
    return ~np.isin(regions, outer[outer > 0])


def ring(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The border of a map `[H, W]`, once around."""
    return np.concatenate([values[0], values[1:, -1], values[-1, -2::-1], values[-2:0:-1, 0]])
