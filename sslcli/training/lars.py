"""LARS (You et al. 2017, arXiv 1708.03888): momentum whose step is scaled to the size of each tensor."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lars(torch.optim.Optimizer):
    """`buffer = momentum * buffer + trust * |w| / |u| * u` with `u = gradient + weight_decay * w`; `w -= lr * buffer`.

    Groups with `adapt = False` (biases, norms) skip the scaling and the decay, as BYOL, MoCo v3 and RELICv2 do.
    """

    def __init__(
        self, parameters: Iterable[dict[str, Any]], *, lr: float, momentum: float = 0.9, trust: float = 0.001
    ) -> None:
        super().__init__(
            parameters, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": 0.0, "adapt": True}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.move(parameter, group)

    def move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        """One parameter's step."""
        update = parameter.grad
        assert update is not None
        if group["adapt"]:
            update = update.add(parameter, alpha=group["weight_decay"])
            update = update * trust_ratio(parameter, update, group["trust"])
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].mul_(group["momentum"]).add_(update)
        parameter.add_(buffer, alpha=-group["lr"])


def trust_ratio(parameter: Tensor, update: Tensor, trust: float) -> Tensor:
    """`trust * |w| / |u|`, or 1 where either norm is zero."""
    size, change = torch.linalg.vector_norm(parameter), torch.linalg.vector_norm(update)
    return torch.where((size > 0) & (change > 0), trust * size / change, torch.ones_like(size))
