"""Small parts of a labelled set, the same number of pictures of each class."""

import numpy as np
from numpy.typing import NDArray

from sslcli.data.draws import stream_generator
from sslcli.data.source import Source
from sslcli.data.subset import Subset

Labels = NDArray[np.int64]


def balanced_part(source: Source, share: float, seed: int) -> Subset:
    """A drawn part of a labelled source: `share` of its pictures, as evenly over the classes as these allow."""
    labels = source.labels()
    assert labels is not None  # what is judged is labelled
    return Subset(source, balanced(labels, share, seed), f"{share:g} of it, seed {seed}")


def balanced(labels: Labels, share: float, seed: int) -> Labels:
    """Which pictures are drawn, rising.

    Each class gives the same number, or all that it has where that is fewer: the largest number with which no more than
    `share` of `labels [N]` are drawn, and one at least.
    """
    numbers, counts = np.unique(labels, return_counts=True)
    each = equal_count(counts, round(share * len(labels)))
    drawn = [
        stream_generator(seed, "balanced part", int(number)).permutation(np.flatnonzero(labels == number))[:each]
        for number in numbers
    ]
    return np.sort(np.concatenate(drawn))


def equal_count(counts: Labels, wanted: int) -> int:
    """The largest number of pictures of each class with which no more than `wanted` are drawn; 1 at least."""
    totals = [int(np.minimum(counts, each).sum()) for each in range(1, int(counts.max()) + 1)]
    return max(int(np.searchsorted(totals, wanted, side="right")), 1)
