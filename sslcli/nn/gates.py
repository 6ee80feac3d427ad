"""What routings are made of: sparse gates from probabilities, noise that belongs to a sample, and regularisers.

    importance_e = sum over tokens of p_e                   p: softmax of the logits without noise, before the top k
    imbalance    = (deviation / mean)^2 of the importance   0 when all experts weigh the same (arXiv 1701.06538, eq. 7)
    load_e       = sum over tokens of P(e is among the k)   under noise drawn anew for e alone (arXiv 2106.05974)
    doubt        = mean over tokens of the entropy of p     0 when every choice is certain

Sums go over all processes. Everything is in 32 bits, whatever the precision of the tokens.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sslcli.nn.gather import sum_with_gradient
from sslcli.nn.precision import in_full_precision
from sslcli.nn.random import sample_uniform

SMALLEST = 2.0**-25  # half a step of `sample_uniform`, so that no uniform number is 0 or 1


@in_full_precision
def top_gates(probabilities: Tensor, k: int) -> Tensor:
    """The k largest of `[..., E]` as they are, the others zero; of equal ones those of the lowest numbers."""
    order = probabilities.detach().sort(dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(probabilities).scatter(-1, order, probabilities.gather(-1, order))


def straight_through(gates: Tensor) -> Tensor:
    """Gates that are 1 where they are above zero, with the gradient of their logarithm: `g / stop_gradient(g)`."""
    held = gates.detach()
    return torch.where(held > 0, gates / held.clamp_min(torch.finfo(gates.dtype).tiny), gates)


@in_full_precision
def importance(probabilities: Tensor) -> Tensor:
    """How much each expert is wanted, `[E]`: the sum of `[..., E]` over everything and all processes."""
    return sum_with_gradient(probabilities.flatten(0, -2).sum(dim=0))


@in_full_precision
def squared_variation(amounts: Tensor, *, unbiased: bool = False) -> Tensor:
    """The squared coefficient of variation of `[E]`: variance by squared mean; 0 of a single expert."""
    if amounts.numel() < 2:
        return amounts.sum() * 0.0
    return amounts.var(correction=int(unbiased)) / amounts.mean().square().clamp_min(1e-20)


@in_full_precision
def entropies(probabilities: Tensor) -> Tensor:
    """The entropy of each row of `[..., E]`, in nats; its gradient is finite for rows that are certain too."""
    return -(probabilities * probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()).sum(dim=-1)


@in_full_precision
def load(logits: Tensor, noise: Tensor, deviation: float, k: int) -> Tensor:
    """How many tokens each expert would get, `[E]`, over all processes: smooth in the logits (arXiv 2106.05974).

    `logits [T, E]` without noise; `noise [T, E]` as it was drawn, of this standard deviation. The threshold of a token
    is its k-th largest noisy logit.
    """
    threshold = (logits + noise).topk(k, dim=-1).values[..., -1:]
    chance = 1.0 - torch.special.ndtr((threshold - logits) / deviation)
    return sum_with_gradient(chance.sum(dim=0))


def normal_of(uniform: Tensor) -> Tensor:
    """Standard normal numbers, float32, of uniform ones in [0, 1) with 24 bits."""
    inside = uniform.cpu().double() if uniform.device.type == "mps" else uniform.double()  # Apple's GPU has no 64 bits
    return (math.sqrt(2.0) * torch.erfinv(2.0 * (inside + SMALLEST) - 1.0)).float().to(uniform.device)


def sample_noise(columns: Mapping[str, Tensor] | None, seed: int, key: str, like: Tensor) -> Tensor:
    """Standard normal numbers of the shape of `like [B, ...]`: one draw a sample and epoch where `columns` name them.

    Then they are the same whatever the number of processes, in a recomputed block, and after a resume.
    """
    if columns is None or not {"index", "epoch"} <= columns.keys():
        return torch.randn_like(like)
    return normal_of(sample_uniform(seed, columns["epoch"], columns["index"], key, tuple(like.shape[1:])))
