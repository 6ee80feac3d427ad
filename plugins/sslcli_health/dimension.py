"""Intrinsic dimension by the two nearest neighbours of each point: TwoNN (Facco et al. 2017).

mu     distance to the second neighbour by that to the first; where points lie evenly, P(mu <= m) = 1 - m^-d
d      slope through the origin of -log(1 - F) over log mu, F the share of points with a smaller mu
"""

import torch
from torch import Tensor

from sslcli.nn.health import BLOCK, unit

SAME = 1e-7  # distance of unit features below which two are one
KEPT = 0.9  # of the ratios, the smallest: the largest are the least certain


def neighbour_ratios(features: Tensor) -> Tensor:
    """mu of unit features `[N, D]`, `[M]`: those of pictures whose nearest neighbour is not the same vector."""
    rows = unit(features)
    found = [nearest_two(rows, first) for first in range(0, len(rows), BLOCK)]
    first, second = torch.cat(found).T
    apart = first > SAME
    ratios: Tensor = second[apart] / first[apart]
    return ratios


def nearest_two(rows: Tensor, first: int) -> Tensor:
    """Distances `[B, 2]` of a block of rows to the two nearest others."""
    distances = torch.cdist(rows[first : first + BLOCK], rows)
    own = torch.arange(len(distances))
    distances[own, first + own] = torch.inf
    return distances.topk(2, largest=False).values


def two_nn(ratios: Tensor) -> float:
    """The dimension that ratios mu `[M]` tell of; NaN where there are none, or all are 1."""
    count = len(ratios)
    x = ratios.log().sort().values[: int(KEPT * count)]
    y = -torch.log1p(-torch.arange(1, len(x) + 1, dtype=x.dtype) / count)
    return ((x * y).sum() / x.square().sum()).item() if len(x) and x[-1] > 0 else torch.nan
