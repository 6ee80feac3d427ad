"""Where clusters begin: k-means++ (Arthur & Vassilvitskii, 2007) by cosine, on a sample of bounded size."""

import torch
from torch import Tensor

from sslcli_moce.balancing import Blocks

MOST = 100_000  # features that the first centroids are chosen from


def seeds(blocks: Blocks, count: int, *, rows: int, seed: int, most: int = MOST) -> Tensor:
    """`count` features as first centroids `[count, D]`, chosen from up to `most` of `rows`; the same for a seed."""
    generator = torch.Generator().manual_seed(seed)
    return plus_plus(sample(blocks, rows, max(most, count), generator), count, generator)


def sample(blocks: Blocks, rows: int, most: int, generator: torch.Generator) -> Tensor:
    """Features drawn without replacement, all when there are no more, in the order of the data."""
    chosen = torch.zeros(rows, dtype=torch.bool)
    chosen[torch.randperm(rows, generator=generator)[:most]] = True
    drawn, begin, filled = torch.empty(0), 0, 0  # filled in place: to join parts is to hold them twice
    for features in blocks:
        if not begin:
            drawn = features.new_empty(min(most, rows), features.shape[1])
        mine = features[chosen[begin : begin + len(features)].to(features.device)]
        drawn[filled : filled + len(mine)] = mine
        begin, filled = begin + len(features), filled + len(mine)
    return drawn


def plus_plus(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Features far apart: each next one is drawn by its distance, 1 - cosine, to the nearest that was chosen.

    For features of unit length that is half the squared distance of k-means++.
    """
    first = int(torch.randint(len(features), (), generator=generator))
    chosen, distances = [first], apart(features, first)
    for _ in range(count - 1):
        chosen.append(weighted(distances.cumsum(0), generator))
        distances = torch.minimum(distances, apart(features, chosen[-1]))
    return features[chosen].clone()


def apart(features: Tensor, one: int) -> Tensor:
    """1 - cosine of each feature with one of them, in 64 bits and never below 0, `[N]`."""
    return (1.0 - features @ features[one]).clamp_min(0.0).double()


def weighted(summed: Tensor, generator: torch.Generator) -> int:
    """A number by weights that are summed up; any number where all weights are 0: then all features are the same."""
    total = float(summed[-1])
    if not total > 0:
        return int(torch.randint(len(summed), (), generator=generator))
    point = torch.rand((), generator=generator, dtype=torch.float64) * total
    return min(int(torch.searchsorted(summed, point.to(summed), right=True)), len(summed) - 1)
