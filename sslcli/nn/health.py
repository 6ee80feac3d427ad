"""How well features are, without labels: over how many directions they vary, how evenly they fill the sphere.

    X [N, D]    features of N pictures, in 64 bits whatever they come in
    unit        each by its length
    centred     less their mean
    values      the singular values of X, the largest first; where X is centred, values^2 / N are its variances

Ranks and slopes are of `values` alone, so several can be taken of one spectrum.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-7  # added to each share by RankMe and LiDAR
RANKS = (3, 100)  # of the variances that alpha-ReQ fits, counted from 1
FEWEST_RANKS = 5  # that a slope is told of
FAINT = 1e-10  # of the largest variance: below it there is none
BLOCK = 1024  # rows of a matrix of pairs at a time


def unit(features: Tensor) -> Tensor:
    """Features `[N, D]` at length 1, in 64 bits on the CPU (Apple's GPU has none); what is zero stays zero."""
    return functional.normalize(features.cpu().double(), dim=1)


def centred(features: Tensor) -> Tensor:
    """Features `[N, D]` less their mean, in 64 bits on the CPU."""
    features = features.cpu().double()
    return features - features.mean(dim=0)


def gram(features: Tensor) -> Tensor:
    """The smaller of X X^T and X^T X, in 64 bits; both have the squared singular values."""
    features = features.cpu().double()
    return features @ features.T if len(features) < features.shape[1] else features.T @ features


def singular_values(features: Tensor) -> Tensor:
    """Singular values `[min(N, D)]` of features `[N, D]`, the largest first; all NaN where the features are not finite.

    By the eigenvalues of the smaller Gram matrix: several times as fast as by X, and blind only to values below 1e-8 of
    the largest.
    """
    products = gram(features)
    if not products.isfinite().all():
        return torch.full((len(products),), math.nan, dtype=torch.float64)
    values: Tensor = torch.linalg.eigvalsh(products).flip(0).clamp_min(0).sqrt()
    return values


def entropy_rank(values: Tensor) -> Tensor:
    """exp(entropy of the shares of `values`): how many of them count, 1 to their number (Roy & Vetterli 2007)."""
    share = values / values.sum().clamp_min(1e-12)
    return (-(share * share.clamp_min(1e-12).log()).sum()).exp()


def smoothed_rank(values: Tensor, eps: float = EPS) -> Tensor:
    """The same with `eps` added to each share, as RankMe (arXiv:2210.02885) and LiDAR (arXiv:2312.04000) have it."""
    share = values / values.sum().clamp_min(1e-12) + eps
    return (-(share * share.log()).sum()).exp()


def rankme(features: Tensor) -> float:
    """RankMe of features `[N, D]` as they come, neither centred nor of unit length (arXiv:2210.02885)."""
    return smoothed_rank(singular_values(features)).item()


def effective_rank(features: Tensor) -> float:
    """Effective rank (Roy & Vetterli 2007) of the centred unit features `[N, D]`: directions in which they vary."""
    return entropy_rank(singular_values(centred(unit(features)))).item()


def spread(features: Tensor) -> float:
    """Rms distance of unit features `[N, D]` from their mean: 0 where all are alike, at most 1."""
    return centred(unit(features)).square().sum(dim=1).mean().sqrt().item()


def power_law(values: Tensor, ranks: tuple[int, int] = RANKS) -> Tensor:
    """alpha of variance ~ rank^-alpha (alpha-ReQ, Agrawal et al. 2022), NaN where fewer than 5 ranks are there.

    A line through log variance over log rank, from `ranks[0]` to `ranks[1]` or the last above 1e-10 of the largest.
    Each rank weighs 1 / rank, as in Stringer et al. 2019: on the log scale all parts of the line count alike.
    """
    variances = values.square()
    last = min(ranks[1], int((variances > FAINT * variances[0]).sum()))
    if last - ranks[0] + 1 < FEWEST_RANKS:
        return values.new_tensor(math.nan)
    rank = torch.arange(ranks[0], last + 1, dtype=values.dtype)
    weight = (1 / rank) / (1 / rank).sum()
    x, y = rank.log(), variances[ranks[0] - 1 : last].log()
    from_middle = weight * (x - (weight * x).sum())
    return -(from_middle * y).sum() / (from_middle * x).sum()


def alpha_req(features: Tensor) -> float:
    """The decay of the variances of features `[N, D]`, not of unit length (alpha-ReQ, Agrawal et al. 2022)."""
    return power_law(singular_values(centred(features))).item()


def influences(features: Tensor, measure: Callable[[Tensor], Tensor]) -> Tensor:
    """How far each picture moves a `measure` of the singular values, `[N]`; it must not depend on their scale.

    Picture i, counted w_i times, makes X^T W X: d value_k / d w_i = (x_i u_k)^2 / 2 value_k, u_k the k-th direction.
    The root of the sum of their squares is the deviation that a bootstrap finds, to first order (the infinitesimal
    jackknife, Efron 1981).
    """
    features = features.cpu().double()
    squares, vectors = torch.linalg.eigh(gram(features))
    values = squares.flip(0).clamp_min(0).sqrt().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(measure(values), values)
    values = values.detach()
    if len(features) < features.shape[1]:
        found: Tensor = vectors.flip(1).square() @ (slope * values / 2)
        return found
    there = values > math.sqrt(FAINT) * values[0]
    found = (features @ vectors.flip(1)).square() @ torch.where(there, slope / (2 * values), 0.0)
    return found


def kernel_means(features: Tensor, t: float = 2.0) -> Tensor:
    """Of each unit feature `[N, D]`, the mean of exp(-t |x - y|^2) over all others, `[N]`; in blocks of rows."""
    rows = unit(features)
    sums = torch.cat([torch.exp(2 * t * (block @ rows.T - 1)).sum(dim=1) for block in torch.split(rows, BLOCK)])
    own = torch.exp(2 * t * (rows.square().sum(dim=1) - 1))
    return (sums - own) / max(len(rows) - 1, 1)


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """log of the mean of exp(-t |x - y|^2) over pairs of unit features: 0 where all are alike, near -2t at best.

    Wang & Isola 2020 (arXiv:2005.10242).
    """
    return kernel_means(features, t).mean().log().item()


def alignments(views: Tensor) -> Tensor:
    """Of each picture, the mean of |x - y|^2 over pairs of its unit features: `[N, V, D]` to `[N]`.

    Wang & Isola 2020 with alpha = 2. Of V unit vectors the sum over pairs is V^2 - |their sum|^2.
    """
    count = views.shape[1]
    rows = unit(views.flatten(0, 1)).view(views.shape)
    pairs = count * rows.square().sum(dim=(1, 2)) - rows.sum(dim=1).square().sum(dim=1)
    return pairs * (2 / (count * (count - 1)))


def lidar(views: Tensor, delta: float = 1e-4) -> float:
    """LiDAR of features `[N, V, D]` of V views of each of N pictures (arXiv:2312.04000): the rank of an LDA matrix.

    Between pictures S_b = mean of m_i m_i^T, m_i the mean of picture i less that of all; within S_w = mean of
    (x - m)(x - m)^T + delta I. Of S_w^-1/2 S_b S_w^-1/2 the smoothed rank. With the means as columns of B and
    S_w = L L^T, its eigenvalues besides zero are those of the Gram matrix of L^-1 B. Directions in which no view has
    any part are left out of L, and counted as zeros.
    """
    pictures, count, width = views.shape
    views = in_their_span(views.cpu().double().flatten(0, 1)).view(pictures, count, -1)
    means = views.mean(dim=1)
    within = (views - means[:, None]).flatten(0, 1)
    covariance = within.T @ within / len(within) + delta * torch.eye(views.shape[2], dtype=torch.float64)
    whitened = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), centred(means).T, upper=False)
    values = singular_values(whitened.T).square()
    return smoothed_rank(torch.cat([values, values.new_zeros(width - len(values))])).item()


def in_their_span(rows: Tensor) -> Tensor:
    """Rows `[N, D]` in other axes of the same lengths and angles, `[N, min(N, D)]`."""
    if len(rows) >= rows.shape[1]:
        return rows
    across: Tensor = torch.linalg.qr(rows.T, mode="r").R.T
    return across
