"""One row a measure: its number, its interval over pictures, what is good, and in words what looks wrong."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslcli.evaluation.interval import mean_interval, within
from sslcli.nn import health
from sslcli.recipe.tables import Sentinel
from sslcli_health.clusters import cluster, learnt
from sslcli_health.dimension import neighbour_ratios, two_nn

GROUPS = 10  # of pictures, each left out once
T9 = 2.262  # the 97.5th percentile of Student's t with 9 degrees of freedom
NORMAL = 1.96  # the same of the normal distribution
WIDEST = 1024  # directions of which the influence of each picture is computed: it takes all singular vectors
LEAST_SPREAD: float = Sentinel.model_fields["min_spread"].default
FEW = 0.1  # of the directions there are: below, the rank is called low
TWINS = 0.1  # of the pictures: above, those with the vector of another are told of
SHARED = 0.25  # of the effective rank: a RankMe below it is that of one direction which all share
STEEP, FLAT = 2.0, 0.5  # alphas
CROWDED = -0.5  # uniformity
NO_CLOSER = 0.8  # of the distance between pictures, that of views of one

Row = dict[str, Any]
Ends = tuple[float, float]


@dataclass(frozen=True)
class Looked:
    """What all rows are made of: features `[N, D]`, views `[M, V, D]` where there are some, and the options' words."""

    features: Tensor
    views: Tensor | None
    clusters: int
    seed: int


def row(
    measure: str, value: float, ends: Ends | None, good: str, says: str = "", limits: Ends = (-math.inf, math.inf)
) -> Row:
    """One line of the report; a number that there is none of is left empty.

    The interval ends at the `limits` of what the measure can be, which rounding may have made the number pass.
    """
    least, most = min(limits[0], value), max(limits[1], value)
    interval = [*within(*ends, least, most)] if ends and all(map(math.isfinite, ends)) else None
    return {
        "measure": measure,
        "value": value if math.isfinite(value) else None,
        "value_interval": interval,
        "good": good,
        "says": says,
    }


def rows_of(looked: Looked) -> list[Row]:
    """All measures, in the order in which one reads them."""
    rows = [*of_spectrum(looked.features, looked.seed), of_pairs(looked.features)]
    if looked.views is not None:
        rows += [of_agreement(looked.views, looked.seed), of_lidar(looked.views)]
    return [*rows, of_clusters(looked), of_dimension(looked.features)]


def of_spectrum(features: Tensor, seed: int) -> list[Row]:
    """Spread, effective rank, RankMe and alpha-ReQ."""
    squares = health.centred(health.unit(features)).square().sum(dim=1)
    spread, most = health.spread(features), min(len(features) - 1, features.shape[1])
    ranks = min(features.shape)  # RankMe is of features that are not centred
    around = mean_interval(squares, seed=seed)
    rank, rankme, alpha = (measure(features) for measure in (health.effective_rank, health.rankme, health.alpha_req))
    same = spread < LEAST_SPREAD
    around_rank = told_by(health.centred(health.unit(features)), health.entropy_rank, rank)
    around_rankme = told_by(features, health.smoothed_rank, rankme)
    around_alpha = told_by(health.centred(features), health.power_law, alpha)
    return [
        row("spread", spread, (around.low**0.5, around.high**0.5), "higher, at most 1", of_spread(same), (0, 1)),
        row("effective rank", rank, around_rank, f"higher, at most {most}", of_rank(rank, most, same), (1, most)),
        row("RankMe", rankme, around_rankme, f"higher, at most {ranks}", of_rankme(rankme, rank, same), (1, ranks)),
        row("alpha-ReQ", alpha, around_alpha, "near 1", of_alpha(alpha)),
    ]


def told_by(features: Tensor, measure: Callable[[Tensor], Tensor], value: float) -> Ends | None:
    """The interval of a measure of singular values, by each picture's influence; none of many wide vectors."""
    if min(features.shape) > WIDEST or not math.isfinite(value):
        return None
    margin = NORMAL * health.influences(features, measure).square().sum().sqrt().item()
    return value - margin, value + margin


def left_out(measure: Callable[[Tensor], float], pictures: Tensor, value: float) -> Ends | None:
    """The interval of a measure of pictures `[N, ...]`: each tenth is left out once (the grouped jackknife)."""
    if len(pictures) < 2 * GROUPS or not math.isfinite(value):
        return None
    groups = torch.arange(len(pictures)) % GROUPS
    found = torch.tensor([measure(pictures[groups != group]) for group in range(GROUPS)], dtype=torch.float64)
    margin = T9 * ((GROUPS - 1) * found.var(correction=0)).sqrt().item()
    return value - margin, value + margin


def of_pairs(features: Tensor) -> Row:
    """Uniformity."""
    kernels = health.kernel_means(features)
    value, mean = kernels.mean().log().item(), kernels.mean()
    margin = NORMAL * 2 * ((kernels - mean) / (mean * len(kernels))).square().sum().sqrt().item()
    says = "vectors crowd together: they fill little of the sphere" if value > CROWDED else ""
    return row("uniformity", value, (value - margin, value + margin), "lower, near -4 at best", says, (-math.inf, 0))


def of_agreement(views: Tensor, seed: int) -> Row:
    """Alignment, held against how far views of different pictures are apart."""
    found = mean_interval(health.alignments(views), seed=seed)
    apart = between(views)
    close = found.value < NO_CLOSER * apart or apart < LEAST_SPREAD**2  # of a collapse other rows tell
    says = "" if close else f"views of one picture are hardly closer than those of two ({apart:.3g})"
    return row("alignment", found.value, (found.low, found.high), "lower, beside a low uniformity", says, (0, 4))


def between(views: Tensor) -> float:
    """The mean of |x - y|^2 over unit features of views of different pictures, `[M, V, D]`."""
    rows = health.unit(views.flatten(0, 1)).view(views.shape)
    all_rows, own_rows = rows.flatten(0, 1), rows.sum(dim=1)
    lengths, pictures, count = all_rows.square().sum(), *views.shape[:2]
    products = all_rows.sum(dim=0).square().sum() - own_rows.square().sum()
    return (2 * lengths / (pictures * count) - 2 * products / (count**2 * pictures * (pictures - 1))).item()


def of_lidar(views: Tensor) -> Row:
    """LiDAR."""
    value, most = health.lidar(views), min(len(views) - 1, views.shape[2])
    ends = left_out(health.lidar, views, value) if views.shape[2] <= WIDEST else None
    says = "apart from what changes between views of one picture, pictures differ in one way only" if value < 2 else ""
    return row("LiDAR", value, ends, f"higher, at most {most}", says, (1, most))


def of_clusters(looked: Looked) -> Row:
    """Cluster learnability, by k-means of which a cluster has eight pictures or more on average."""
    count = max(min(looked.clusters, len(looked.features) // 8), 2)
    labels = cluster(looked.features, count, looked.seed)
    found = mean_interval(learnt(looked.features, labels, looked.seed), seed=looked.seed)
    distinct = len(set(labels.tolist()))
    if distinct < 2:
        return row("cluster learnability", math.nan, None, "higher", "no clusters: all vectors are the same")
    says = f"only {distinct} of {count} clusters differ" if distinct < count else ""
    return row("cluster learnability", found.value, (found.low, found.high), f"higher, of {distinct} clusters", says)


def of_dimension(features: Tensor) -> Row:
    """Intrinsic dimension."""
    ratios = neighbour_ratios(features)
    value, twins = two_nn(ratios), len(features) - len(ratios)
    says = f"{twins} of {len(features)} pictures have the vector of another" if twins > TWINS * len(features) else ""
    if value < 2:
        says = "; ".join(filter(None, ["pictures lie along a line", says]))
    ends = left_out(two_nn, ratios, value)
    return row("intrinsic dimension", value, ends, "higher, beside learnability", says, (0, math.inf))


def of_spread(same: bool) -> str:
    """What a small spread means."""
    return "collapse: all pictures get nearly the same vector" if same else ""


def of_rank(rank: float, most: int, same: bool) -> str:
    """What a low effective rank means."""
    if rank < 2:
        return "" if same else "collapse: vectors vary along one direction only"
    return f"dimensional collapse: about {rank:.0f} of {most} directions are in use" if rank < FEW * most else ""


def of_rankme(rankme: float, rank: float, same: bool) -> str:
    """What a RankMe far below the effective rank means."""
    return "most of each vector is what all have in common" if rankme < SHARED * rank and not same else ""


def of_alpha(alpha: float) -> str:
    """What the fall of the variances means."""
    if alpha > STEEP:
        return "steep: few directions carry nearly all that varies"
    return "flat: as many directions as noise has" if alpha < FLAT else ""
