"""How far a score may be chance: bootstrap intervals over the pictures that were tested (Efron 1979).

    a resample    as many pictures as there are, drawn with replacement
    interval      between the 2.5th and the 97.5th percentile of the mean over 1000 resamples

It covers which pictures happened to be tested. It does not cover the chance of training: for that, train again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean, and the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is above or below 0; 0 where it cannot be told apart from 0."""
        return (self.low > 0) - (self.high < 0)


def mean_interval(*tasks: Tensor, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The mean over tasks of the mean over pictures, `[M]` numbers or truths a task, and its interval.

    Each task is resampled by itself. The same seed gives the same interval.
    """
    rng = np.random.default_rng(seed)
    drawn = np.mean([resampled_means(task.double().numpy(), resamples, rng) for task in tasks], axis=0)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(np.mean([task.double().mean().item() for task in tasks])), float(low), float(high))


def paired_interval(
    first: Sequence[Tensor], second: Sequence[Tensor], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """How much better `first` is than `second`, judged on the same pictures of each task, and the interval of that."""
    gains = [one.double() - other.double() for one, other in zip(first, second, strict=True)]
    return mean_interval(*gains, seed=seed, resamples=resamples)


def within(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """The ends of an interval, moved to what a measure can be at least and at most."""
    return min(max(low, least), most), min(max(high, least), most)


def resampled_means(values: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The means of so many resamples of `values [M]`.

    A resample counts how often each distinct value was drawn, which is a multinomial: cheap where they are 0 and 1.
    """
    distinct, counts = np.unique(values, return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=resamples)
    return np.asarray(drawn @ distinct / len(values))
