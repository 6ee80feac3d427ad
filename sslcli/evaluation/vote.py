"""The weighted vote of nearest neighbours (Wu et al. 2018, arXiv:1805.01978; as DINO, arXiv:2104.14294, evaluates)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.errors import RunError, UserError
from sslcli.evaluation.neighbours import TRAIN_BLOCK, blocks, nearest

TOP = 5
LEAST = -700.0  # exp() of less is zero in float64, and a neighbour's vote must not vanish


@dataclass(frozen=True)
class KnnResult:
    """Shares of test pictures whose class came first, and came among the first five, with `k` voting neighbours."""

    k: int
    top1: float
    top5: float


def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    ks: Sequence[int] = (20,),
    temperature: float = 0.07,
    classes: int | None = None,
    device: torch.device | None = None,
) -> list[KnnResult]:
    """Accuracy of the weighted vote for every `k`, from one search.

    Features `[N, D]` and `[M, D]` need not be normalised; labels are int64 `[N]` and `[M]`, below `classes` (found from
    the labels when left out). The search runs on `device`, or where the training features are. A class without a
    voting neighbour is not among the first five. A `k` beyond the training set is a `UserError`, features that are not
    finite are a `RunError`.
    """
    check_ks(ks, len(train_features))
    check_finite(train_features, "training")
    check_finite(test_features, "test")
    found = predictions(
        train_features, train_labels, test_features, ks=ks, temperature=temperature, classes=classes, device=device
    )
    return [KnnResult(k, *shares_right(predicted, test_labels.cpu())) for k, predicted in found]


def knn_right(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int,
    temperature: float = 0.07,
    device: torch.device | None = None,
) -> Tensor:
    """Which test pictures the vote of `k` neighbours classifies right, bool `[M]`; arguments and errors as of `knn`."""
    check_ks([k], len(train_features))
    check_finite(train_features, "training")
    check_finite(test_features, "test")
    ((_, predicted),) = predictions(
        train_features, train_labels, test_features, ks=[k], temperature=temperature, device=device
    )
    return predicted[:, 0] == test_labels.cpu()


def predictions(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    *,
    ks: Sequence[int],
    temperature: float = 0.07,
    classes: int | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """For every `k`, rising: the first five classes of each test picture, int64 `[M, 5]` (-1: no class has a vote)."""
    ks = sorted(set(ks))
    labels = train_labels.cpu()
    similarities, positions = nearest(train_features, test_features, ks[-1], device=device)
    near, voters = similarities.cpu().double(), labels[positions.cpu()]
    near = near - near[:, :1]  # the same factor for all votes of a picture: exp() cannot overflow
    scores = near.new_zeros(len(near), classes or int(labels.max()) + 1)
    for begin, k in zip([0, *ks], ks):
        scores += vote(near[:, begin:k], voters[:, begin:k], scores.shape[1], temperature)
        yield k, ranking(scores)


def vote(similarities: Tensor, labels: Tensor, classes: int, temperature: float) -> Tensor:
    """Votes of each class, `[M, classes]`: the sum of exp(similarity / temperature) over its neighbours `[M, k]`."""
    weights = (similarities / temperature).clamp(min=LEAST).exp()
    return weights.new_zeros(len(weights), classes).scatter_add_(1, labels, weights)


def ranking(scores: Tensor) -> Tensor:
    """The first five classes by votes, `[M, 5]`; the lower number of equal ones, -1 where votes end."""
    votes, classes = scores.sort(dim=1, descending=True, stable=True)
    return classes.where(votes > 0, -1)[:, :TOP]


def shares_right(predicted: Tensor, labels: Tensor) -> tuple[float, float]:
    """Shares of pictures whose label `[M]` is the first of `predicted [M, 5]`, and is any of them."""
    right = predicted == labels[:, None]
    return right[:, 0].double().mean().item(), right.any(dim=1).double().mean().item()


def check_ks(ks: Sequence[int], samples: int) -> None:
    """Refuse more neighbours than there are training pictures, or none."""
    if not ks or min(ks) < 1:
        raise UserError("k must be at least 1", "give the numbers of neighbours as in '--k 10,20,100'")
    if max(ks) > samples:
        raise UserError(
            f"k = {max(ks)} is more than the {samples} training pictures",
            f"give a k of at most {samples}, as in '--k {min(20, samples)}'",
        )


def check_finite(features: Tensor, part: str) -> None:
    """Refuse features with NaN or infinity: their neighbours mean nothing."""
    bad = sum(int((~rows.isfinite().all(dim=1)).sum()) for _, rows in blocks(features, TRAIN_BLOCK))
    if bad:
        raise RunError(
            f"features of {bad} of {len(features)} {part} pictures are not finite",
            "the backbone has diverged: judge an earlier checkpoint, or train with a smaller optimizer.lr",
        )
