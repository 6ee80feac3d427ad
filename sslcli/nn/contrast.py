"""Contrastive losses as pure functions, over the rows of all processes, in full precision."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslcli.nn.gather import gather, gather_with_gradient, rank
from sslcli.nn.precision import in_full_precision


@in_full_precision
def info_nce(query: Tensor, key: Tensor, temperature: float, *, negatives: Tensor | None = None) -> Tensor:
    """Each query must find its own key among the keys of all ranks; the mean over local queries, a scalar.

        - log exp(cos(q_i, k_i) / tau) / sum_c exp(cos(q_i, k_c) / tau),   c over all W * B keys

    `query` and `key` are `[B, D]`, row i of one image in both; keys take no gradient. With `negatives [K, D]`, of unit
    length and the same on all ranks, such as those of a queue, c goes over them too. MoCo v3 (arXiv:2104.02057) eq. 1
    without its factor 2 tau.
    """
    keys = gather(F.normalize(key, dim=-1))
    if negatives is not None:
        keys = torch.cat([keys, negatives.detach()])
    logits = F.normalize(query, dim=-1) @ keys.T / temperature
    return F.cross_entropy(logits, own_rows(len(query), query.device))


@in_full_precision
def queue_contrast(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """The mean over images of InfoNCE of every pair of crops, `[teacher, student]`.

        - log [ exp(p k / tau) / (exp(p k / tau) + sum_j exp(p q_j / tau)) ]

    `queries [student, B, D]` p, `keys [teacher, B, D]` k and `negatives [K, D]` q_j, all of unit length; keys and
    negatives take no gradient. The sum over negatives is the same for all keys of a query, and is made once.
    MoCo (arXiv:1911.05722) eq. 1, over several crops.
    """
    scaled = queries / temperature  # before the product, which is 65,536 wide
    others = (scaled @ negatives.detach().T).logsumexp(dim=-1)  # [student, B]
    own = torch.einsum("sbd,tbd->tsb", scaled, keys.detach())
    return (torch.logaddexp(own, others) - own).mean(dim=-1)


@in_full_precision
def nt_xent(features: Tensor, temperature: float) -> Tensor:
    """SimCLR's loss (arXiv:2002.05709, eq. 1) over all crops of all ranks; the mean over local rows, a scalar.

        l(i, j) = - log exp(cos(z_i, z_j) / tau) / sum_{k != i} exp(cos(z_i, z_k) / tau)

    `features [crops, B, D]` are projected crops of B images. With more than two crops each row is averaged over its
    other crops, which stay in the sum below the line too. The gradient reaches the rows of every rank.
    """
    crops, images, _ = features.shape
    rows = F.normalize(features, dim=-1).transpose(0, 1)  # [B, crops, D]: rows of an image lie together
    others = gather_with_gradient(rows).flatten(0, 1)  # [W * B * crops, D]
    own = own_rows(images * crops, features.device)
    logits = rows.flatten(0, 1) @ others.T / temperature
    logits = logits.scatter(1, own[:, None], -torch.inf)  # no row is compared with itself
    log_share = logits.log_softmax(dim=1)
    return -log_share.gather(1, sibling_rows(own, crops)).mean()


def own_rows(count: int, device: torch.device) -> Tensor:
    """Where this rank's `count` rows are among the rows of all ranks, `[count]`."""
    return torch.arange(count, device=device) + count * rank()


def sibling_rows(own: Tensor, crops: int) -> Tensor:
    """The other crops of each row's image, `[rows, crops - 1]`, where rows of an image lie together."""
    shift = torch.arange(1, crops, device=own.device)
    first = own - own % crops
    return first[:, None] + (own[:, None] - first[:, None] + shift) % crops
