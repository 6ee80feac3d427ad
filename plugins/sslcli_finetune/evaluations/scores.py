"""Answers and labels to shares of pictures that are right, with their intervals."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.evaluation.interval import LEVEL, RESAMPLES, Interval, resampled_means

TOP = 5


def in_top(logits: Tensor, labels: Tensor, top: int = TOP) -> Tensor:
    """Whether the label `[M]` is among the first so many classes of `logits [M, classes]`, bool `[M]`."""
    first = logits.topk(min(top, logits.shape[1]), dim=1).indices
    return (first == labels[:, None]).any(dim=1)


def by_class(right: Tensor, labels: Tensor) -> list[Tensor]:
    """The truths `[M]` of each class that was tested."""
    return [right[labels == number] for number in torch.unique(labels).tolist()]


def resampled(strata: list[Tensor], rng: np.random.Generator) -> NDArray[np.float64]:
    """Means over strata of 1000 resamples of each: of all test pictures, or of those of each class."""
    drawn = [resampled_means(part.double().numpy(), RESAMPLES, rng) for part in strata]
    return np.asarray(np.mean(drawn, axis=0))


def mean_of_means(groups: list[list[Tensor]], seed: int) -> Interval:
    """The mean over sets of the mean over strata of the mean over pictures, and its interval over pictures."""
    rng = np.random.default_rng(seed)
    drawn = np.mean([resampled(strata, rng) for strata in groups], axis=0)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    means = [np.mean([part.double().mean().item() for part in strata]) for strata in groups]
    return Interval(float(np.mean(means)), float(low), float(high))


def entries(name: str, found: Interval) -> dict[str, Any]:
    """Two entries of a row."""
    return {name: found.value, f"{name}_interval": [found.low, found.high]}
