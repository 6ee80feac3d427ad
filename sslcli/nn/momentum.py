"""A module and its exponential moving average: mean teacher (arXiv:1703.01780), as in MoCo (arXiv:1911.05722)."""

from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

TIMM_RATES = {"drop_prob", "prob"}  # of DropPath and DropBlock, of PatchDropout


class Momentum(nn.Module):
    """`online` learns; `target`, its twin, follows it: target <- m target + (1 - m) online, parameters only.

    The target starts as a copy, takes no gradient and drops nothing. It stays in training mode while the model trains,
    so its batch norms use the statistics of the batch; their buffers are its own and are not averaged.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.online = module
        self.target = without_drops(deepcopy(module)).requires_grad_(False)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(target, online) parameters of one name; what only the online side has is not averaged.

        Raises KeyError when the target has a parameter that the online side lost.
        """
        online = dict(self.online.named_parameters())
        for name, parameter in self.target.named_parameters():
            yield parameter, online[name]


def without_drops(module: nn.Module) -> nn.Module:
    """The module with every dropout and stochastic depth at rate zero."""
    for part in module.modules():
        if isinstance(part, _DropoutNd):
            part.p = 0.0
        for rate in TIMM_RATES & vars(part).keys():
            part.__dict__[rate] = 0.0
    return module


@torch.no_grad()
def update_all(model: nn.Module, momentum: float) -> None:
    """Move every target of a model towards its online side, in one call for each dtype and device."""
    groups: dict[tuple[torch.dtype, torch.device], list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for pair in (module for module in model.modules() if isinstance(module, Momentum)):
        for target, online in pair.pairs():
            groups[target.dtype, target.device].append((target, online.to(target)))
    for group in groups.values():
        targets, onlines = map(list, zip(*group))
        torch._foreach_lerp_(targets, onlines, 1.0 - momentum)
