"""Clusters of equal size: balanced assignment and centroids in turn, until pictures stay where they are.

    settle:    potentials that balance the plan of these centroids                     (balancing)
    soften:    while pictures are shared out among many clusters, ε is halved
    centroids: c_j ∝ Σ_i A_ij f_i, the best ones of unit length for this plan

Why ε is halved: with a plan too soft for the features, centroids fall together, and what is left are far fewer clusters
than were asked for. The features of an MAE lie so close that 0.05 of a cosine is far too soft for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslcli_moce.balancing import Balance, Blocks, plan_of, settle

ROUNDS = 30
STILL = 1e-3  # the share of pictures that may change their cluster in the last round
LOOSE = 1e-2  # how well columns are balanced while centroids still move
LEAST = 1e-3  # of the ε asked for: as far as it is lowered
Note = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What clusters are wanted."""

    clusters: int = 256
    epsilon: float = 0.05
    decided: float = 0.8  # how much of a picture, on the average, shall be in its foremost cluster; 0 leaves ε alone
    tolerance: float = 1e-3  # of the final plan: the largest relative deviation of a column
    seed: int = 0


@dataclass(frozen=True)
class Standing:
    """How far the clustering has come: all that the next round needs."""

    centroids: Tensor  # [m, D]
    potentials: Tensor  # [m], 64 bits
    ids: Tensor  # [n], int32, of the rows
    epsilon: float
    round: int = 0
    passes: int = 0
    changed: float = 1.0  # the share of pictures that changed cluster
    moves: bool = True  # whether another round is needed


def beginning(centroids: Tensor, rows: int, asked: Asked) -> Standing:
    """Before the first round."""
    potentials = torch.zeros(len(centroids), dtype=torch.float64, device=centroids.device)
    return Standing(centroids, potentials, torch.full((rows,), -1, dtype=torch.int32), asked.epsilon)


def next_round(blocks: Blocks, now: Standing, asked: Asked) -> Standing:
    """One round: balance, soften, assign; then move the centroids, unless hardly a picture changed cluster."""
    balance, epsilon, passes = decide(blocks, now, asked)
    ids, pull = assign(blocks, now, balance.potentials, epsilon)
    changed = float((ids != now.ids).double().mean())
    moves = changed >= STILL and now.round + 1 < ROUNDS
    centroids = moved(now.centroids, pull) if moves else now.centroids
    return Standing(centroids, balance.potentials, ids, epsilon, now.round + 1, now.passes + passes + 1, changed, moves)


def decide(blocks: Blocks, now: Standing, asked: Asked) -> tuple[Balance, float, int]:
    """The balanced plan of the centroids, at an ε at which pictures belong to one cluster each; and its passes."""
    epsilon, passes = now.epsilon, 0
    potentials = now.potentials
    while True:
        balance = settle(blocks, now.centroids, potentials, epsilon, tolerance=LOOSE)
        passes += balance.passes
        if balance.decided >= asked.decided or epsilon <= LEAST * asked.epsilon:
            return balance, epsilon, passes
        epsilon, potentials = epsilon / 2, balance.potentials


def assign(blocks: Blocks, now: Standing, potentials: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """The foremost cluster of every row, int32 `[n]`, and Σ_i A_ij f_i in 64 bits, `[m, D]`."""
    ids, pull, begin = torch.empty_like(now.ids), torch.zeros_like(now.centroids, dtype=torch.float64), 0
    for features in blocks:
        plan = plan_of(features, now.centroids, potentials, epsilon)
        ids[begin : begin + len(features)] = plan.argmax(dim=1)
        pull += (plan.T @ features).double()
        begin += len(features)
    return ids, pull


def moved(centroids: Tensor, pull: Tensor) -> Tensor:
    """The centroids that features pull to, of unit length; one that is pulled nowhere stays, `[m, D]`."""
    lengths = pull.norm(dim=1, keepdim=True)
    return torch.where(lengths > 1e-12, normalize(pull, dim=1), centroids.double()).to(centroids)


def finished(blocks: Blocks, now: Standing, asked: Asked) -> tuple[Standing, Balance]:
    """The centroids left as they are, and the plan balanced as well as was asked for."""
    balance = settle(blocks, now.centroids, now.potentials, now.epsilon, tolerance=asked.tolerance)
    ids, _ = assign(blocks, now, balance.potentials, now.epsilon)
    passes = now.passes + balance.passes + 1
    return replace(now, potentials=balance.potentials, ids=ids, passes=passes), balance


def nearness(blocks: Blocks, centroids: Tensor, ids: Tensor) -> float:
    """The mean cosine of the rows `[n, D]` with the centroids of their clusters `[n]`."""
    total, begin = 0.0, 0
    for features in blocks:
        own = centroids.to(features)[ids[begin : begin + len(features)].long().to(features.device)]
        total += float((features * own).sum())
        begin += len(features)
    return total / begin
