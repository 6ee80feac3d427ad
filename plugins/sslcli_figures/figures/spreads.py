"""Distances inside classes and between them: the mathematics of two figures, of vectors `[N, D]` and labels `[N]`.

class distances      between_k / within_k     RELICv2 (arXiv:2201.05119); our reading of it
    between_k        mean distance of the members of k to those of all other classes
    within_k         mean distance of two different members of k
    centres          the same with the mean distance of the mean of k to the means of the others on top
discriminant ratio   |mu_k - mu_l|^2 / sum over i, j of C_k of |x_i - x_j|^2     ReLIC (arXiv:2010.07922), k != l
    mean             the same by the mean over i, j in the place of the sum
"""

import torch
from torch import Tensor


def class_distances(rows: Tensor, labels: Tensor, numbers: list[int]) -> tuple[Tensor, Tensor]:
    """For each class, which has two pictures at least, its ratio by members and its ratio by centres, two of `[K]`."""
    rows = rows.double()
    groups = [rows[labels == number] for number in numbers]
    centres = torch.stack([group.mean(dim=0) for group in groups])
    apart = distances(centres, centres).sum(dim=1) / (len(groups) - 1)
    within, between = [], []
    for place, group in enumerate(groups):
        rest = torch.cat(groups[:place] + groups[place + 1 :])
        within.append(distances(group, group).sum() / (len(group) * (len(group) - 1)))
        between.append(distances(group, rest).mean())
    inside = torch.stack(within).clamp_min(torch.finfo(torch.float64).tiny)
    return torch.stack(between) / inside, apart / inside


def distances(some: Tensor, others: Tensor) -> Tensor:
    """Euclidean distances `[N, M]`, exact also between vectors that are almost the same."""
    return torch.cdist(some, others, compute_mode="donot_use_mm_for_euclid_dist")


def discriminant_ratios(rows: Tensor, labels: Tensor, numbers: list[int]) -> tuple[Tensor, Tensor]:
    """For each ordered pair of classes, the ratio by the sum and the ratio by the mean, two of `[K, K]`.

    Of k itself, nothing: NaN on the diagonal. The sum is 2 n times the squared distances to the mean.
    """
    rows = rows.double()
    groups = [rows[labels == number] for number in numbers]
    centres = torch.stack([group.mean(dim=0) for group in groups])
    counts = torch.tensor([len(group) for group in groups], dtype=torch.float64)
    spread = torch.stack([(group - centre).square().sum() for group, centre in zip(groups, centres)])
    inside = (2 * counts * spread).clamp_min(torch.finfo(torch.float64).tiny)[:, None]
    literal = distances(centres, centres).square() / inside
    literal.fill_diagonal_(torch.nan)
    return literal, literal * counts[:, None].square()
