"""Projectors and predictors as the field builds them: linear layers with batch norm or without."""

from collections.abc import Iterator
from typing import Literal

from torch import nn

Norm = Literal["none", "batch", "plain"]  # plain: batch norm without scale and shift
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def mlp_head(
    width: int,
    hidden: int,
    output: int,
    layers: int,
    *,
    bias: bool | Literal["hidden"] = False,
    norm: Norm = "batch",
    last_norm: Norm = "plain",
    activation: Literal["relu", "gelu"] = "relu",
) -> nn.Sequential:
    """`[B, width]` to `[B, output]` through `layers` linear layers, `hidden` wide between.

    The defaults are the heads of MoCo v3 (arXiv:2104.02057): no biases, batch norm and ReLU between the layers, batch
    norm without scale and shift at the end. `bias = "hidden"` gives one to every linear layer but the last, as in BYOL
    (arXiv:2006.07733). Linear layers start as PyTorch starts them.
    """
    widths = [width, *[hidden] * (layers - 1), output]
    modules: list[nn.Module] = []
    for layer in range(layers):
        last = layer == layers - 1
        shifted = not last if bias == "hidden" else bias
        modules.append(nn.Linear(widths[layer], widths[layer + 1], bias=shifted))
        modules.extend(batch_norm(widths[layer + 1], last_norm if last else norm))
        if not last:
            modules.append(ACTIVATIONS[activation]())
    return nn.Sequential(*modules)


def truncated_normal(module: nn.Module, std: float = 0.02) -> nn.Module:
    """The module with every linear layer started as the field's transformers are: truncated normal, biases zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def batch_norm(width: int, norm: Norm) -> Iterator[nn.Module]:
    """The norm of a layer, or nothing."""
    if norm != "none":
        yield nn.BatchNorm1d(width, affine=norm == "batch")
