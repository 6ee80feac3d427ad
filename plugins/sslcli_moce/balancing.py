"""Balanced assignment of pictures to clusters: entropic optimal transport, exact, in blocks.

    maximise  Tr(Aᵀ F Cᵀ) + ε H(A)   over A >= 0 whose rows sum to 1 and whose columns sum to n / m

    F [n, D] features of unit length, C [m, D] centroids, S = F Cᵀ their scores; ε how soft the plan A is

The plan is A = softmax((S + v) / ε) over rows, so that m potentials v are all there is to find: A itself is never held.
`sinkhorn` is the textbook's alternation. `settle` finds the same plan in a tenth of the passes or less, by Newton's
method on v (as Brauer et al., arXiv:1710.06635), whose steps are damped as Levenberg and Marquardt do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Blocks = Iterable[Tensor]  # features [b, D], all of one kind, as often as they are asked for
SLACK = 1e-6  # of a cluster's share: keeps the Newton system solvable, whatever is added to all potentials
LONGEST = 8.0  # times ε, that a potential may move in one step
LITTLE = 1e-3  # the least gain, as a share of the imbalance, that makes a step good
EMPTY = 1e-30  # the least mass of a cluster, lest its logarithm be infinite


class Sums(NamedTuple):
    """What one pass over the data sums up, all in 64 bits; those of several ranks add up part by part."""

    mass: Tensor  # [m], columns of the plan
    overlap: Tensor  # [m, m], AᵀA
    decided: Tensor  # [], the greatest entry of each row, summed
    rows: Tensor  # [], n


Reduce = Callable[[Sums], Sums]


def alone(sums: Sums) -> Sums:
    """Nobody else has a share of the data."""
    return sums


@dataclass(frozen=True)
class Balance:
    """Potentials `[m]`, what the pass with them summed up, and how many passes it took."""

    potentials: Tensor
    sums: Sums
    passes: int

    @property
    def deviation(self) -> float:
        """The largest relative deviation of a column from n / m."""
        return float((shares(self.sums) - 1.0).abs().max())

    @property
    def decided(self) -> float:
        """How much of a picture, on the average, is in its foremost cluster: from 1 / m up to 1."""
        return float(self.sums.decided / self.sums.rows)


def sinkhorn(
    scores: Tensor, epsilon: float, *, rounds: int | None = None, tolerance: float = 1e-9, most: int = 100_000
) -> Tensor:
    """The balanced plan `[n, m]` of scores `[n, m]`: columns, then rows, again and again, in the log domain.

    Rows sum to 1. It ends when no column deviates from n / m by more than `tolerance` of it, or after `rounds`.
    """
    scaled = scores / epsilon
    potentials = -scaled.logsumexp(dim=0)
    plan = torch.softmax(scaled + potentials, dim=1)
    target = len(scores) / scores.shape[1]
    for _ in range(1, rounds or most):
        columns = plan.sum(dim=0)
        if rounds is None and float((columns / target - 1.0).abs().max()) <= tolerance:
            break
        potentials = potentials - (columns / target).clamp_min(EMPTY).log()
        plan = torch.softmax(scaled + potentials, dim=1)
    return plan


def plan_of(features: Tensor, centroids: Tensor, potentials: Tensor, epsilon: float) -> Tensor:
    """The rows of the plan of some features, `[b, m]`."""
    logits = torch.addmm((potentials / epsilon).to(features), features, (centroids / epsilon).to(features).T)
    return torch.softmax(logits, dim=1)


def weigh(blocks: Blocks, centroids: Tensor, potentials: Tensor, epsilon: float, reduce: Reduce = alone) -> Sums:
    """One pass: what the potentials make of all the data."""
    sums = nothing(centroids)
    for features in blocks:
        plan = plan_of(features, centroids, potentials, epsilon)
        found = (plan.sum(dim=0), plan.T @ plan, plan.amax(dim=1).sum(), torch.tensor(len(plan), device=plan.device))
        sums = Sums(*(total + part.double() for total, part in zip(sums, found)))
    return reduce(sums)


def nothing(centroids: Tensor) -> Sums:
    """The sums of no data."""
    zero = torch.zeros((), dtype=torch.float64, device=centroids.device)
    count = len(centroids)
    return Sums(zero.expand(count), zero.expand(count, count), zero, zero)


def shares(sums: Sums) -> Tensor:
    """The mass of each cluster as a multiple of n / m, `[m]`."""
    return sums.mass * len(sums.mass) / sums.rows


def imbalance(sums: Sums) -> float:
    """How far the columns are off, all together; Sinkhorn's alternation never lets it grow."""
    return float((shares(sums) - 1.0).abs().sum())


def settle(
    blocks: Blocks,
    centroids: Tensor,
    potentials: Tensor,
    epsilon: float,
    *,
    tolerance: float = 1e-3,
    most: int = 300,
    reduce: Reduce = alone,
) -> Balance:
    """The potentials of the balanced plan, from any to begin with, in at most about as many passes over the data.

    A step that does not bring the columns nearer is taken back and damped; where damping does not help either, the
    next one is Sinkhorn's. Whether the tolerance was reached is in `deviation`.
    """
    balance, damping = Balance(potentials, weigh(blocks, centroids, potentials, epsilon, reduce), 1), 0.0
    while balance.deviation > tolerance and balance.passes < most:
        plain = damping > 1.0
        step = sinkhorn_step(balance.sums) if plain else newton_step(balance.sums, damping)
        moved = balance.potentials + epsilon * step
        found = Balance(moved, weigh(blocks, centroids, moved, epsilon, reduce), balance.passes + 1)
        if plain:
            balance, damping = found, 0.1
        elif imbalance(found.sums) < (1.0 - LITTLE) * imbalance(balance.sums):
            balance, damping = found, damping / 4 if damping > LITTLE else 0.0
        else:
            balance, damping = Balance(balance.potentials, balance.sums, found.passes), max(4 * damping, 0.01)
    return balance


def newton_step(sums: Sums, damping: float) -> Tensor:
    """How far to move the potentials, in units of ε: (diag(mass) - AᵀA) step = n / m - mass, `[m]`."""
    target = sums.rows / len(sums.mass)
    diagonal = sums.mass * (1.0 + damping) + SLACK * target
    step: Tensor = torch.linalg.solve(torch.diag(diagonal) - sums.overlap, target - sums.mass)
    return (step - step.mean()).clamp(-LONGEST, LONGEST)


def sinkhorn_step(sums: Sums) -> Tensor:
    """The same for one round of the alternation, `[m]`."""
    return -shares(sums).clamp_min(EMPTY).log()
