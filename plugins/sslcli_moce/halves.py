"""Two halves of a set that are as unlike as its clusters allow: 2-means on the sphere, over the clusters' centroids.

    side of cluster j    the nearer of two unit vectors by cosine
    unit vectors         the mean of their side's centroids, each counting by its pictures, brought to unit length

Begun often, as k-means++ begins; the division with the greatest sum of cosines is kept. A and B are no equal halves.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.errors import UserError
from sslcli_moce.clusters import NOWHERE

STARTS, ROUNDS = 20, 100


def split_clusters(centroids: Tensor, sizes: Tensor, *, seed: int = 0) -> Tensor:
    """Which clusters are of half B, bool `[m]`, of unit centroids `[m, D]` with so many pictures `[m]`.

    A is the half with more pictures. Clusters without a picture are of A. Raises UserError where there are not two.
    """
    kept = sizes > 0
    if int(kept.sum()) < 2:
        raise UserError("there are no two clusters with pictures, so there are no halves", "make more: --clusters 16")
    units, weights = normalize(centroids[kept].double(), dim=1), sizes[kept].double()
    generator = torch.Generator().manual_seed(seed)
    tried = [divide(units, weights, begin(units, weights, generator)) for _ in range(STARTS)]
    second = max(tried, key=lambda side: cohesion(units, weights, side))
    if weights[second].sum() > weights[~second].sum():
        second = ~second
    half = torch.zeros(len(centroids), dtype=torch.bool)
    half[kept] = second
    return half


def begin(units: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Two of the centroids `[2, D]`, the second far from the first: drawn by 1 - cosine, and by their pictures."""
    first = int(torch.multinomial(weights, 1, generator=generator))
    far = weights * (1 - units @ units[first]).clamp_min(0)
    far[first] = 0
    if not far.sum() > 0:  # all alike: any other
        far = torch.ones_like(far).index_fill(0, torch.tensor(first), 0)
    return units[torch.tensor([first, int(torch.multinomial(far, 1, generator=generator))])]


def divide(units: Tensor, weights: Tensor, means: Tensor) -> Tensor:
    """Which of `units` `[m, D]` are on the second of two sides, bool `[m]`; neither is ever empty."""
    side = torch.zeros(len(units), dtype=torch.bool)
    for _ in range(ROUNDS):
        gain = units @ (means[1] - means[0])
        new = gain > 0 if (gain > 0).any() else one_only(gain)  # none gains where all are alike
        if new.equal(side):
            break
        side = new
        means = torch.stack([normalize((units * (weights * part)[:, None]).sum(0), dim=0) for part in (~side, side)])
    return side


def one_only(gain: Tensor) -> Tensor:
    """The first of the greatest alone."""
    return torch.arange(len(gain)) == gain.argmax()


def cohesion(units: Tensor, weights: Tensor, side: Tensor) -> float:
    """The sum over pictures of the cosine of their centroid with the mean of its side: the length of the sums."""
    return sum(float((units * (weights * part)[:, None]).sum(0).norm()) for part in (~side, side))


def rows_of_halves(ids: Tensor, second: Tensor) -> tuple[list[int], list[int]]:
    """The pictures of each half, by clusters `[n]` of the pictures; a picture that could not be read is of neither."""
    known = ids != NOWHERE
    of_second = second[ids.clamp_min(0)] & known
    rows = torch.arange(len(ids))
    return rows[known & ~of_second].tolist(), rows[of_second].tolist()
