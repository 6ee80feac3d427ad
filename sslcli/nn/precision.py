"""Full precision inside autocast: what is exact in 32 bits and not in 16, such as softmaxes and statistics."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def at_least_fp32(tensor: Tensor) -> Tensor:
    """The tensor itself in 32 or 64 bits; half precision is widened, with its gradient."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor


def in_full_precision(function: Callable[..., T]) -> Callable[..., T]:
    """A function whose tensors are widened to 32 bits and that runs without autocast.

    The first argument must be a tensor: its device says which autocast to leave.

    >>> @in_full_precision
    ... def soft(logits: Tensor) -> Tensor:
    ...     return logits.softmax(-1)
    >>> soft(torch.zeros(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    @wraps(function)
    def wide(first: Tensor, *others: Any, **named: Any) -> T:
        with torch.autocast(first.device.type, enabled=False):
            return function(*map(widened, (first, *others)), **{name: widened(value) for name, value in named.items()})

    return wide


def widened(value: Any) -> Any:
    """A tensor in at least 32 bits, anything else as it is."""
    return at_least_fp32(value) if isinstance(value, Tensor) else value
