"""How well a region is found: J, by its area, and F, by its boundary (DAVIS: Pont-Tuset et al. 2017, arXiv:1704.00675).

J     intersection over union; 1 where both are empty
F     harmonic mean of precision and recall of boundary pixels; one counts as found within a tolerance of 0.8 % of the
      picture's diagonal, rounded up
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Region = NDArray[np.bool_]  # [H, W]

TOLERANCE = 0.008


def region_score(found: Region, truth: Region, counts: Region) -> float:
    """J of a region, over the pixels that count."""
    union = ((found | truth) & counts).sum()
    return float((found & truth & counts).sum() / union) if union else 1.0


def boundary_score(found: Region, truth: Region, counts: Region) -> float:
    """F of a region; pixels that do not count are in none."""
    edges = boundary(found & counts), boundary(truth & counts)
    reach = float(np.ceil(TOLERANCE * np.hypot(*truth.shape)))
    precision, recall = (share_near(one, other, reach) for one, other in (edges, edges[::-1]))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary(region: Region) -> Region:
    """Pixels that differ from the one to the right, below, or both: the boundary, one pixel wide, `[H, W]`."""
    padded = np.pad(region, ((0, 1), (0, 1)), "edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((region != right) | (region != below) | (region != both))


def share_near(edge: Region, other: Region, reach: float) -> float:
    """The share of an edge's pixels that have one of the other edge within reach; 1 of no pixels."""
    if not edge.any():
        return 1.0
    if not other.any():
        return 0.0
    return float((distance_transform_edt(~other)[edge] <= reach).mean())
