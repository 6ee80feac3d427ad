"""Tensors of all processes. In a world of one nothing is called and nothing is copied.

The gradient. Each of W ranks has a loss L_r, the mean over its own rows, and data parallelism averages the gradients
of the ranks, so what is minimised is L = (1/W) sum_r L_r, the mean over all rows. A row z of rank s may enter the loss
of every rank, so dL/dtheta = (1/W) sum_s (sum_r dL_r/dz_s) dz_s/dtheta. The average over s is what data parallelism
does; the inner sum over r is what the backward pass of `gather_with_gradient` must do: a sum, not a mean.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if world() > 1 else 0


@torch.no_grad()
def gather(tensor: Tensor) -> Tensor:
    """Rows `[B, ...]` of every rank in rank order, `[W * B, ...]`, without gradient; every rank brings as many."""
    return collect(tensor.detach()) if world() > 1 else tensor.detach()


def gather_with_gradient(tensor: Tensor) -> Tensor:
    """The same with a gradient, right when each rank's loss is a mean over its rows and the ranks are averaged."""
    result: Tensor = Gather.apply(tensor) if world() > 1 else tensor
    return result


def sum_with_gradient(tensor: Tensor) -> Tensor:
    """The sum over ranks, with a gradient that is right in the same sense."""
    result: Tensor = Sum.apply(tensor) if world() > 1 else tensor
    return result


@torch.no_grad()
def all_mean(tensor: Tensor) -> Tensor:
    """The mean over ranks, without gradient."""
    return reduced(tensor.detach()) / world() if world() > 1 else tensor.detach()


def collect(tensor: Tensor) -> Tensor:
    """One all-gather, joined along the first axis."""
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def reduced(tensor: Tensor) -> Tensor:
    """One all-reduce into a copy."""
    total = tensor.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


class Gather(torch.autograd.Function):
    """Forward: all-gather. Backward: the gradients of all ranks summed, then this rank's own rows."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return collect(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return reduced(gradients[0]).chunk(world())[rank()]


class Sum(torch.autograd.Function):
    """Forward and backward: the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return reduced(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return reduced(gradients[0])
