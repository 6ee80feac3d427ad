"""ReLIC's likelihoods (arXiv:2010.07922) and what RELICv2 (arXiv:2201.05119) asks of them, as pure functions.

    p(j | i) = exp(cos(o_i^a, t_j^b) / tau) / sum_m exp(cos(o_i^a, t_m^b) / tau),   j and m among the candidates of i
    contrast   - log p(i | i)                 invariance   KL(p || q), q with the roles of the two crops changed

o are the student's outputs and t the teacher's; candidates of image i are i itself and its negatives.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcli.nn import gather, gather_with_gradient, in_full_precision
from sslcli.nn.contrast import own_rows
from sslcli_relic.options import Invariance, StopGradient


class Terms(NamedTuple):
    """Means over the images of this process for every pair of crops, each `[student, teacher]`."""

    contrast: Tensor
    invariance: Tensor


@in_full_precision
def relic_terms(
    online: Tensor,
    target: Tensor,
    negatives: Tensor | None,
    *,
    temperature: float,
    invariance: Invariance = "k2",
    stop_gradient: StopGradient = "entropy",
) -> Terms:
    """Both terms of every pair of crops, from outputs `online [A, B, D]` and `target [T, B, D]` of any length.

    `negatives [B, n]` are rows of other images among those of all ranks, None for all others. The target takes no
    gradient. With K1 the student's first T crops must be the teacher's.
    """
    online, target = F.normalize(online, dim=-1), F.normalize(target.detach(), dim=-1)
    own = own_rows(online.shape[1], online.device)
    candidates = None if negatives is None else torch.cat([own[:, None], negatives], dim=1)
    log_p = log_likelihoods(online, gather_images(target), candidates, temperature)
    if invariance == "k2":
        log_q = answers(online, target, candidates, temperature)
    else:
        log_q = exchanged(log_p, online, target, candidates, temperature)
    divergences = divergence(log_p, log_q, stop_gradient).mean(dim=2)
    if invariance == "k1":  # a crop has no places to change with itself, and none of its entropy's gradient
        divergences = divergences.masked_fill(torch.eye(*divergences.shape, dtype=torch.bool, device=own.device), 0.0)
    return Terms(-own_share(log_p, candidates, own).mean(dim=2), divergences)


def own_share(log_p: Tensor, candidates: Tensor | None, own: Tensor) -> Tensor:
    """The log-likelihood of each image's own key, `[A, T, B]`: the first candidate, or its row among all."""
    if candidates is not None:
        return log_p[..., 0]
    return log_p.gather(3, own.expand(log_p.shape[:-1])[..., None])[..., 0]


def gather_images(outputs: Tensor) -> Tensor:
    """`[crops, B, D]` of every rank to `[crops, W * B, D]`, without gradient."""
    return gather(outputs.transpose(0, 1)).transpose(0, 1)


def log_likelihoods(anchors: Tensor, others: Tensor, candidates: Tensor | None, temperature: float) -> Tensor:
    """Log-softmax over the candidates `[X, Y, B, C]` of unit anchors `[X, B, D]` against unit others `[Y, N, D]`.

    With `candidates [B, C]`, rows of the others, only these are multiplied; with None all N are candidates.
    """
    if candidates is None:
        scores = torch.einsum("xbd,ynd->xybn", anchors, others)
    else:
        scores = torch.einsum("xbd,ybcd->xybc", anchors, others[:, candidates])
    return (scores / temperature).log_softmax(dim=-1)


def answers(online: Tensor, target: Tensor, candidates: Tensor | None, temperature: float) -> Tensor:
    """K2's log q `[A, T, B, C]`: the teacher's crop of an image asks the student's crops of the same candidates."""
    everyone = gather_with_gradient(online.transpose(0, 1)).transpose(0, 1)
    return log_likelihoods(target, everyone, candidates, temperature).transpose(0, 1)


def exchanged(log_p: Tensor, online: Tensor, target: Tensor, candidates: Tensor | None, temperature: float) -> Tensor:
    """K1's log q `[A, T, B, C]`: the p of pair (b, a) for the pair (a, b) of large crops; K2's for small crops."""
    large = len(target)
    if len(online) == large:
        return log_p.transpose(0, 1)
    return torch.cat([log_p[:large].transpose(0, 1), answers(online[large:], target, candidates, temperature)])


def divergence(log_p: Tensor, log_q: Tensor, stop_gradient: StopGradient) -> Tensor:
    """`KL(p || q) = sum p log p - sum p log q` over the last axis; what takes no gradient changes no value.

    `entropy`: the first sum. `p`: p, wherever it stands. `q`: q. `none`: nothing.
    """
    if stop_gradient == "p":
        log_p = log_p.detach()
    if stop_gradient == "q":
        log_q = log_q.detach()
    entropy = (log_p.exp() * log_p).sum(dim=-1)
    if stop_gradient == "entropy":
        entropy = entropy.detach()
    return entropy - (log_p.exp() * log_q).sum(dim=-1)
