"""Intersections over unions from counts of pixels, and what chance there is in their mean.

hits, truth, found     pixels of a class in a picture: told right, truly of it, said to be of it     [M, K]
IoU of a class         hits / (truth + found - hits), all pictures together; none where the union is empty
mean IoU               over the classes that have one
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslcli_dense.resampling import resampled

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """Counts of classes in every picture, `[M, K]` each, or in all together, `[K]`; also floats, of resamples."""

    hits: NDArray[np.generic]
    truth: NDArray[np.generic]
    found: NDArray[np.generic]

    def together(self) -> "Tally":
        """All pictures as one, `[K]`."""
        return Tally(self.hits.sum(axis=0), self.truth.sum(axis=0), self.found.sum(axis=0))

    def resamples(self, seed: int) -> "Tally":
        """The counts of pictures drawn with replacement, `[R, K]`: the same draws for all three."""
        return Tally(*(resampled(counts, seed) for counts in (self.hits, self.truth, self.found)))

    def ious(self) -> Numbers:
        """IoU of every class, `[..., K]`; NaN where the union is empty."""
        hits, truth, found = (np.asarray(counts, np.float64) for counts in (self.hits, self.truth, self.found))
        union = truth + found - hits
        return np.asarray(np.divide(hits, union, out=np.full(union.shape, np.nan), where=union > 0))

    def mean_iou(self) -> Numbers:
        """The mean over classes that have an IoU, `[...]`; 0 where none has."""
        ious = self.ious()
        known = np.isfinite(ious)
        return np.asarray(np.where(known, ious, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1))

    def accuracy(self) -> Numbers:
        """The share of all pixels that are told right, `[...]`."""
        return np.asarray(self.hits.sum(axis=-1) / np.maximum(self.truth.sum(axis=-1), 1))


def tally(confusions: list[Counts]) -> Tally:
    """The counts of pictures from their confusion matrices `[K, K]`, truth down."""
    stacked = np.stack([confusion_counts(confusion) for confusion in confusions])
    return Tally(stacked[:, 0], stacked[:, 1], stacked[:, 2])


def confusion_counts(confusion: Counts) -> Counts:
    """Hits, truth and found of a confusion matrix, `[3, K]`."""
    return np.stack([confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)])


def confusion_of(truth: Counts, predicted: Counts, classes: int, ignore: int) -> Counts:
    """Pixels by their true and their predicted class, `[K, K]`; those of the number `ignore` count for nothing."""
    counted = truth != ignore
    cells = truth[counted] * classes + predicted[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
