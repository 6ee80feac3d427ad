"""`sslcli eval retrieval`: pictures ranked by cosine to each test picture; those of its class are the right ones.

With R right ones among the ranked, r(i) = 1 where the i-th is right and P(i) the share of right ones among the first i:

    average precision     sum over all i of P(i) r(i) / R          mAP: its mean over the test pictures
    the same at R         sum over i <= R of P(i) r(i) / R         mAP@R (Musgrave et al. 2020, arXiv:2003.08505)
    recall at k           whether one of the first k is right
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.errors import UserError
from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.samples import vectors_of_tested
from sslcli.evaluation.trial import Labelled, Trial
from sslcli.evaluation.vote import check_finite
from sslcli_frozen.options import RetrievalOptions

CELLS = 1 << 23  # similarities that are sorted at a time


@dataclass(frozen=True)
class Ranked:
    """Of each picture that has a right one among the ranked `[M]`: the scores, and the first place that is right."""

    average_precision: Tensor
    at_r: Tensor
    first: Tensor  # from 1


def judge(options: RetrievalOptions, trial: Trial) -> Report:
    """mAP, mAP@R and recall@k with their intervals over the test pictures."""
    gallery, queries, alike = pictures(options, trial)
    found = rank(gallery, queries, alike=alike, device=trial.device)
    if not len(found.first):
        raise UserError("no test picture has another of its class to be found", "name more pictures")
    row = {**share_of("map", found.average_precision, options.seed), **share_of("map_at_r", found.at_r, options.seed)}
    for k in sorted(set(options.recalls)):
        row |= share_of(f"recall_at_{k}", found.first <= k, options.seed)
    facts = {
        "ranked": f"{len(gallery.labels) - alike} pictures for each of {len(found.first)} test pictures, by cosine",
        "left_out": len(queries.labels) - len(found.first),  # nothing of their class is among the ranked
        "width": queries.features.shape[1],
        "classes": len(trial.judged.classes),
    }
    shares = tuple(name for name in row if not name.endswith("_interval"))
    return Report("retrieval", trial.run, trial.subject.said, trial.judged.said, [row], facts, shares=shares)


def pictures(options: RetrievalOptions, trial: Trial) -> tuple[Labelled, Labelled, bool]:
    """What is ranked, for what, and whether these are the same pictures."""
    if options.among == "test":
        queries = vectors_of_tested(trial)
        return queries, queries, True
    gallery, queries = trial.labelled()
    check_finite(gallery.features, "ranked")
    check_finite(queries.features, "test")
    return gallery, queries, False


def rank(gallery: Labelled, queries: Labelled, *, alike: bool = False, device: torch.device | None = None) -> Ranked:
    """Scores of every query, in blocks whose similarities fit in memory.

    With `alike` both are the same pictures, and each leaves itself out. Of equally near ones the earlier comes first.
    """
    device = device or gallery.features.device
    keys = normalize(gallery.features.to(device, torch.float32), dim=1)
    labels, size = gallery.labels.to(device), max(CELLS // len(keys), 1)
    parts = []
    for begin in range(0, len(queries.labels), size):
        block = normalize(queries.features[begin : begin + size].to(keys), dim=1)
        similarities = block @ keys.T
        if alike:
            rows = torch.arange(len(block), device=device)
            similarities[rows, begin + rows] = -torch.inf
        order = similarities.argsort(dim=1, descending=True, stable=True)
        right = labels[order] == queries.labels[begin : begin + size, None].to(device)
        parts.append(scores(right[:, :-1] if alike else right))
    return Ranked(*(torch.cat(columns) for columns in zip(*parts)))


def scores(right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Average precision, the same at R, and the first right place, of rankings bool `[B, N]` that have a right one."""
    right = right[right.any(dim=1)]
    places = torch.arange(1, right.shape[1] + 1, device=right.device)
    wanted = right.sum(dim=1, keepdim=True)
    precision = torch.where(right, right.cumsum(dim=1) / places, 0.0)
    at_r = torch.where(places <= wanted, precision, 0.0)
    average, at_r = ((part.double().sum(dim=1) / wanted[:, 0]).cpu() for part in (precision, at_r))
    return average, at_r, right.int().argmax(dim=1).cpu() + 1
