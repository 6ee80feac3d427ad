"""A linear classifier on frozen features: logistic regression, as strong as a part held out says.

features       less the mean, by the spread of the training pictures
strength       C of `CS` that is right most often on a fifth of each class held out of training, then all are learnt
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from sslcli.data.judged import stratified
from sslcli.evaluation.vote import check_finite

CS = (0.001, 0.01, 0.1, 1.0, 10.0)  # scikit-learn's inverse of the penalty
STEPS = 1000  # of L-BFGS, at most
WORTH = 1e9  # multiplications of a step below which threads of BLAS wait for each other: on a busy machine, for minutes

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class LinearResult:
    """Which test pictures were classified right, bool `[M]`, and the C that was chosen."""

    right: Tensor
    c: float

    @property
    def top1(self) -> float:
        """The share of them."""
        return self.right.double().mean().item()


def linear(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    cs: Sequence[float] = CS,
    seed: int = 0,
) -> LinearResult:
    """Learn the classes of `[N, D]` features with labels `[N]`, and judge on `[M, D]` and `[M]`.

    The seed chooses what is held out. Features that are not finite are a `RunError`.
    """
    check_finite(train_features, "training")
    check_finite(test_features, "test")
    train, test = standardised(train_features.double().numpy(), test_features.double().numpy())
    labels = train_labels.numpy()
    c = best_c(train, labels, cs, seed)
    predicted = fitted(train, labels, c).predict(test)
    return LinearResult(torch.from_numpy(predicted == test_labels.numpy()), c)


def standardised(train: Numbers, *others: Numbers) -> list[Numbers]:
    """Features of mean 0 and spread 1 over the training pictures; what never varies there becomes 0."""
    mean, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread < 1e-12 * (1 + np.abs(mean))] = np.inf
    return [(features - mean) / spread for features in (train, *others)]


def best_c(train: Numbers, labels: Labels, cs: Sequence[float], seed: int) -> float:
    """The C that is right most often on the part held out; of equal ones the strongest penalty."""
    held = stratified(labels, seed)
    if len(cs) == 1 or not held.any():
        return min(cs)
    right = {c: fitted(train[~held], labels[~held], c).score(train[held], labels[held]) for c in sorted(cs)}
    return max(right, key=lambda c: right[c])


def fitted(features: Numbers, labels: Labels, c: float) -> LogisticRegression:
    """Multinomial logistic regression; one that has not settled in so many steps is taken as it is."""
    step = features.size * len(np.unique(labels))
    with warnings.catch_warnings(), threadpool_limits(1 if step < WORTH else None):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=c, max_iter=STEPS).fit(features, labels)
