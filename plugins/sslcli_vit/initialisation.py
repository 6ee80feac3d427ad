"""Random starts of the papers, over the one that timm gives."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def mae(model: nn.Module) -> None:
    """MAE (arXiv 2111.06377): Xavier everywhere, the patch convolution as a D x 3pp matrix, CLS N(0, 0.02)."""
    for linear in linears(model).values():
        nn.init.xavier_uniform_(linear.weight)
        zero_bias(linear)
    nn.init.xavier_uniform_(patch_weight(model).flatten(1))
    if model.cls_token is not None:
        nn.init.normal_(tensor(model.cls_token), std=0.02)


def moco_v3(model: nn.Module) -> None:
    """MoCo v3 (arXiv 2104.02057): Xavier, with q, k and v as matrices of their own; CLS N(0, 1e-6)."""
    for name, linear in linears(model).items():
        parts = linear.weight.chunk(3) if name.endswith("attn.qkv") else (linear.weight,)
        for part in parts:
            nn.init.xavier_uniform_(part)
        zero_bias(linear)
    patch = patch_weight(model)
    bound = math.sqrt(6.0 / (patch[0].numel() + len(patch)))  # sqrt(6 / (3pp + D))
    nn.init.uniform_(patch, -bound, bound)
    zero_bias(model.get_submodule("patch_embed.proj"))
    if model.cls_token is not None:
        nn.init.normal_(tensor(model.cls_token), std=1e-6)


def dino(model: nn.Module) -> None:
    """DINO (arXiv 2104.14294) and its descendants: truncated normal 0.02 for matrices, CLS and positions."""
    for linear in linears(model).values():
        nn.init.trunc_normal_(linear.weight, std=0.02)
        zero_bias(linear)
    for table in (model.cls_token, model.pos_embed):
        if table is not None:
            nn.init.trunc_normal_(tensor(table), std=0.02)


def as_built(model: nn.Module) -> None:
    """What the model was built with: truncated normal 0.02 for matrices and learned positions."""


INITIALISATIONS: Mapping[str, Callable[[nn.Module], None]] = {
    "timm": as_built,
    "mae": mae,
    "moco_v3": moco_v3,
    "dino": dino,
}


@torch.no_grad()
def initialise(model: nn.Module, name: str) -> None:
    """Give the model the random start of that name."""
    INITIALISATIONS[name](model)


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """All linear layers by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def patch_weight(model: nn.Module) -> Tensor:
    """The patch convolution's weight, `[D, 3, p, p]`."""
    return tensor(model.get_submodule("patch_embed.proj").weight)


def zero_bias(layer: nn.Module) -> None:
    """Set the bias to zero, where there is one."""
    if layer.bias is not None:
        nn.init.zeros_(tensor(layer.bias))


def tensor(value: Tensor | nn.Module) -> Tensor:
    """What a module's attribute holds, for the type checker too."""
    assert isinstance(value, Tensor)
    return value
