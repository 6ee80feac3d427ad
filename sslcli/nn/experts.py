"""A mixture of experts in the place of a block's MLP: each token goes only to the experts that its gates name.

    gates  = routing(tokens, columns)             [B, N, E], zero for the experts that a token does not go to
    output = sum over e of gates[..., e] * expert_e(tokens that go to e)

So top-1 routing costs about one MLP, whatever the number of experts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone


@dataclass(frozen=True)
class Route:
    """What a routing decides: gates `[B, N, E]`, and scalars to minimise, their weights applied."""

    gates: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)


class Experts(nn.Module):
    """`count` copies of an MLP behind a routing, `[B, N, D]` to `[B, N, D]`.

    The routing is called as `routing(tokens, columns)` and returns a `Route`; `columns` are the facts of each image
    that the backbone was given, or None. Every expert is part of every forward, with an empty share where no token
    goes to it: its gradient is then zero, not missing, as data parallelism wants it.
    """

    def __init__(self, mlp: nn.Module, routing: nn.Module, count: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(deepcopy(mlp) for _ in range(count))
        self.routing = routing
        self.columns: Mapping[str, Tensor] | None = None  # set by the backbone before each forward
        self.losses: dict[str, list[Tensor]] = {}  # of every forward with a gradient since `forget_routing`

    def forward(self, tokens: Tensor) -> Tensor:
        """The gated sum of the experts' outputs."""
        route: Route = self.routing(tokens, self.columns)
        expected = (*tokens.shape[:-1], len(self.experts))
        if tuple(route.gates.shape) != expected:
            raise ValueError(f"{type(self.routing).__name__} gave gates {tuple(route.gates.shape)}, not {expected}")
        if torch.is_grad_enabled():
            for name, term in route.losses.items():
                self.losses.setdefault(name, []).append(term)
        return dispatch(tokens.flatten(0, -2), route.gates.flatten(0, -2), self.experts).view_as(tokens)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along: not the last forward's graph."""
        return self.__dict__ | {"losses": {}, "columns": None}


def dispatch(tokens: Tensor, gates: Tensor, experts: nn.ModuleList) -> Tensor:
    """Gated sum of experts over tokens `[T, D]` and gates `[T, E]`; sums in the gates' precision (fp32)."""
    expert, token = (gates > 0).t().nonzero(as_tuple=True)  # pairs, grouped by expert
    shares = torch.bincount(expert, minlength=len(experts)).tolist()
    outputs = torch.cat([mlp(share) for mlp, share in zip(experts, torch.split(tokens[token], shares), strict=True)])
    weighted = outputs * gates[token, expert, None]
    return weighted.new_zeros(len(tokens), outputs.shape[-1]).index_add(0, token, weighted).to(outputs.dtype)


def install_routing(
    backbone: Backbone, build_routing: Callable[[int], nn.Module], blocks: Sequence[int], experts: int
) -> None:
    """Put experts, with a routing `build_routing(block)`, into each of `blocks`; negative ones count from the end."""
    if "experts" not in backbone.abilities:
        raise UserError(
            f"the backbone {type(backbone).__name__} cannot hold experts, which a [routing] asks for",
            "choose a backbone with the ability 'experts', such as vit",
        )
    for block in blocks_of(backbone, blocks):
        routing = build_routing(block)
        backbone.replace_mlp(block, lambda mlp, routing=routing: Experts(mlp, routing, experts))  # type: ignore[misc]


def blocks_of(backbone: Backbone, blocks: Sequence[int]) -> list[int]:
    """Block numbers from 0, each named once."""
    depth = backbone.depth
    outside = [block for block in blocks if not -depth <= block < depth]
    if outside:
        raise UserError(
            f"routing.blocks names block {outside[0]}, but the backbone has {depth} blocks",
            f"name blocks from 0 to {depth - 1}, or from -{depth} to -1",
        )
    numbers = [block % depth for block in blocks]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"routing.blocks names a block twice: {list(blocks)} of {depth} blocks", "name each block once")
    return sorted(numbers)


def experts_in(module: nn.Module) -> Iterator[tuple[str, Experts]]:
    """The mixtures of experts of a network, by name."""
    for name, part in module.named_modules():
        if isinstance(part, Experts):
            yield name, part


def forget_routing(module: nn.Module) -> None:
    """Forget what the routings of a network wanted minimised so far: a new step begins."""
    for _, part in experts_in(module):
        part.losses = {}


def routing_losses(module: nn.Module) -> Tensor:
    """The sum over the layers of what their routings want minimised; zero where there are none."""
    terms = [term for _, term in routing_terms(module)]
    if terms:
        return torch.stack(terms).sum()
    parameter = next(module.parameters(), None)
    return torch.zeros((), device=None if parameter is None else parameter.device)


def routing_parts(module: nn.Module) -> dict[str, Tensor]:
    """The same terms by name, each the mean over the layers, without gradient: for the log."""
    named: dict[str, list[Tensor]] = {}
    for name, term in routing_terms(module):
        named.setdefault(name, []).append(term.detach())
    return {name: torch.stack(terms).mean() for name, terms in named.items()}


def routing_terms(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each term of each layer, the mean over the forwards of the step: more crops do not make it heavier."""
    for _, part in experts_in(module):
        for name, terms in part.losses.items():
            yield name, torch.stack(terms).mean()
