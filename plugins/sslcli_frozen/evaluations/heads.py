"""Linear heads that learn side by side from the same features, as one batched tensor.

logits   x W_h + b_h           x [B, D], of all heads h at once [B, H, C]
loss     sum over heads of the mean cross-entropy, so that no head's gradient knows of another head
SGD      u = gradient + decay w;  m = momentum m + u;  w -= rate_h m      (Nesterov: w -= rate_h (u + momentum m))
LARS     the same with u scaled by trust |w_h| / |u_h|; biases are neither scaled nor decayed
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sslcli.training.lars import trust_ratio
from sslcli_frozen.evaluations.sight import Layout

TRUST = 0.001
SPREAD = 0.01  # of the weights at the start


@dataclass(frozen=True)
class Head:
    """One head of the grid: what it reads, and how it learns; `lr` is for 256 pictures."""

    layout: Layout
    optimizer: str
    lr: float
    weight_decay: float


class Stack(nn.Module):
    """Heads of one layout and one optimizer: weights `[D, H, C]`, biases `[H, C]`, and their momenta."""

    def __init__(self, heads: Sequence[Head], width: int, classes: int, *, start: str, seed: int, norm: bool) -> None:
        super().__init__()
        self.heads = tuple(heads)
        self.lars = heads[0].optimizer == "lars"
        self.norm = nn.BatchNorm1d(width, affine=False, eps=1e-6) if norm else nn.Identity()
        weight, bias = beginning(width, classes, start, seed)
        self.weight = nn.Parameter(weight[:, None].repeat(1, len(heads), 1))
        self.bias = nn.Parameter(bias.repeat(len(heads), 1))
        self.decay = torch.tensor([[head.weight_decay] for head in heads])
        self.momenta = {name: torch.zeros(0) for name in ("weight", "bias")}

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, H, C]` of features `[B, D]`."""
        logits: Tensor = self.norm(features) @ self.weight.flatten(1)
        return logits.view(len(features), *self.bias.shape) + self.bias

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy of each head, summed."""
        logits = self(features)
        every = labels[:, None].expand(logits.shape[:2])
        return cross_entropy(logits.flatten(0, 1), every.flatten(), reduction="sum") / len(labels)

    @torch.no_grad()
    def move(self, rates: Tensor, *, momentum: float, nesterov: bool) -> None:
        """One step of every head along its gradient, at its own rate of `[H]`."""
        for name, tensor in (("weight", self.weight), ("bias", self.bias)):
            assert tensor.grad is not None
            update = tensor.grad if self.lars and name == "bias" else tensor.grad + self.decay.to(tensor) * tensor
            if self.lars and name == "weight":
                update = update * self.trust(tensor, update)
            momenta = self.momenta[name]
            momenta = momentum * momenta + update if len(momenta) else update
            self.momenta[name] = momenta
            ahead = update + momentum * momenta if nesterov and not self.lars else momenta
            tensor.sub_(rates[:, None] * ahead)
            tensor.grad = None

    def trust(self, weight: Tensor, update: Tensor) -> Tensor:
        """How much LARS scales the update of each head's weights, `[H, 1]`."""
        ratios: Tensor = torch.vmap(lambda w, u: trust_ratio(w, u, TRUST), in_dims=1)(weight, update)
        return ratios[:, None]


def beginning(width: int, classes: int, start: str, seed: int) -> tuple[Tensor, Tensor]:
    """Weights `[D, C]` and biases `[C]` that every head of a stack begins with."""
    generator = torch.Generator().manual_seed(seed)
    if start == "normal":
        return SPREAD * torch.randn(width, classes, generator=generator), torch.zeros(classes)
    bound = width**-0.5  # both of PyTorch's Linear
    weight, bias = (bound * (2 * torch.rand(rows, classes, generator=generator) - 1) for rows in (width, 1))
    return weight, bias[0]
