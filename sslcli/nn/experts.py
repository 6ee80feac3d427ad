"""A mixture of experts in the place of a block's MLP: each token goes only to the experts that its gates name.

    gates  = routing(tokens, columns)             [B, N, E], or [B, 1, E] for all tokens of an image alike;
                                                  zero for the experts that a token does not go to
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

Columns = Mapping[str, Tensor]


@dataclass(frozen=True)
class Route:
    """What a routing decides: gates `[B, N, E]` or `[B, 1, E]`; scalars to minimise, weights applied; others to log."""

    gates: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    logs: Mapping[str, Tensor] = field(default_factory=dict)


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
        self.columns: Columns | None = None  # set by the backbone before each forward
        self.losses: dict[str, list[Tensor]] = {}  # of every forward with a gradient since `forget_routing`
        self.logs: dict[str, list[Tensor]] = {}
        self.shares = [0] * count  # tokens, or images, that went to each expert in training since `take_shares`

    def forward(self, tokens: Tensor) -> Tensor:
        """The gated sum of the experts' outputs."""
        route: Route = self.routing(tokens, self.columns)
        self.check(route.gates, tokens)
        if torch.is_grad_enabled():
            self.note(route)
        together = route.gates.shape[1] < tokens.shape[1]  # an image's tokens travel as one
        rows, gates = tokens if together else tokens.flatten(0, 1), route.gates.flatten(0, 1)
        output, shares = dispatch(rows, gates, self.experts)
        if self.training and torch.is_grad_enabled():
            self.shares = [before + share for before, share in zip(self.shares, shares)]
        return output.view_as(tokens)

    def check(self, gates: Tensor, tokens: Tensor) -> None:
        """Refuse gates of another form."""
        images, count = tokens.shape[:2]
        expected = [(images, count, len(self.experts)), (images, 1, len(self.experts))]
        if tuple(gates.shape) not in expected:
            raise ValueError(f"{type(self.routing).__name__} gave gates {tuple(gates.shape)}, not {expected[0]}")

    def note(self, route: Route) -> None:
        """Keep what the routing wants minimised, and what it wants known."""
        for kept, given in ((self.losses, route.losses), (self.logs, route.logs)):
            for name, term in given.items():
                kept.setdefault(name, []).append(term)

    def take_shares(self) -> list[int]:
        """What went to each expert since the last call."""
        taken, self.shares = self.shares, [0] * len(self.shares)
        return taken

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along: not the last forward's graph."""
        return self.__dict__ | {"losses": {}, "logs": {}, "columns": None, "shares": [0] * len(self.shares)}


def dispatch(rows: Tensor, gates: Tensor, experts: nn.ModuleList) -> tuple[Tensor, list[int]]:
    """Gated sum of experts over rows `[R, ..., D]` with gates `[R, E]`, and how many rows went to each expert.

    Gates are applied in their own precision (fp32).
    """
    chosen = gates > 0
    each = chosen.sum(dim=1)
    *shares, least, most = torch.cat([chosen.sum(dim=0), each.min()[None], each.max()[None]]).tolist()  # one wait
    if least == most == 1:
        return one_each(rows, gates, experts, shares), shares
    return several_each(rows, gates, experts, shares), shares


def one_each(rows: Tensor, gates: Tensor, experts: nn.ModuleList, shares: list[int]) -> Tensor:
    """Every row goes to one expert: sorted by expert, worked on in pieces, put back."""
    gate, expert = gates.max(dim=1)
    order = expert.argsort(stable=True)
    pieces = torch.split(Sorted.apply(rows, order), shares)
    outputs = [mlp(piece) for mlp, piece in zip(experts, pieces, strict=True)]
    weights = torch.split(gate.index_select(0, order), shares)
    weighted = [scaled(output, weight) for output, weight in zip(outputs, weights, strict=True)]
    result: Tensor = PutBack.apply(order, *weighted)
    return result


def several_each(rows: Tensor, gates: Tensor, experts: nn.ModuleList, shares: list[int]) -> Tensor:
    """A row goes to any number of experts: their weighted outputs are summed, in the gates' precision."""
    expert, row = (gates > 0).t().nonzero(as_tuple=True)  # pairs, grouped by expert
    outputs = torch.cat([mlp(piece) for mlp, piece in zip(experts, torch.split(rows[row], shares), strict=True)])
    weighted = outputs * gates[row, expert].view(-1, *[1] * (outputs.ndim - 1))
    return weighted.new_zeros(rows.shape).index_add(0, row, weighted).to(outputs.dtype)


def scaled(output: Tensor, gate: Tensor) -> Tensor:
    """`output [R, ..., D]` times `gate [R]`, multiplied in the gate's precision, in the output's own."""
    return (output * gate.view(-1, *[1] * (output.ndim - 1))).to(output.dtype)


class Sorted(torch.autograd.Function):
    """Rows in another order, each once. Backward: put back, without the sum that an index with repeats needs."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return torch.empty_like(gradients[0]).index_copy_(0, order, gradients[0]), None


class PutBack(torch.autograd.Function):
    """Pieces of sorted rows, put to where they came from. Backward: sorted again, and cut."""

    @staticmethod
    def forward(ctx: Any, order: Tensor, *pieces: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        ctx.shares = [len(piece) for piece in pieces]
        result = pieces[0].new_empty(len(order), *pieces[0].shape[1:])
        for places, piece in zip(torch.split(order, ctx.shares), pieces, strict=True):
            result.index_copy_(0, places, piece)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (order,) = ctx.saved_tensors
        return None, *torch.split(gradients[0].index_select(0, order), ctx.shares)


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


@torch.no_grad()
def perturb_experts(module: nn.Module, share: float, seed: int) -> None:
    """Let experts that are equal copies come apart: normal noise on matrices, `share` of each one's own deviation."""
    generator = torch.Generator().manual_seed(seed)
    for _, part in experts_in(module):
        if share and equal_copies(part.experts):
            for parameter in part.experts.parameters():
                if parameter.ndim > 1:
                    noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                    parameter.add_(noise * (share * parameter.std()))


def equal_copies(experts: nn.ModuleList) -> bool:
    """Whether all experts are the same in every number: those of a trained mixture are not."""
    first = list(experts[0].parameters())
    return all(all(map(torch.equal, first, expert.parameters())) for expert in experts)


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


def recognised(module: nn.Module, images: Tensor) -> dict[str, Tensor] | None:
    """Facts `[B]` of images `[B, 3, H, W]` that nobody has told about, from a routing that finds them out itself.

    Such a routing has `recognise(images) -> facts`; the routings of all blocks are of one kind, so the first is asked.
    None where none can.
    """
    routing = next((part.routing for _, part in experts_in(module)), None)
    recognise = getattr(routing, "recognise", None)
    return None if recognise is None else dict(recognise(images))


def forget_routing(module: nn.Module) -> None:
    """Forget what the routings of a network wanted minimised so far: a new step begins."""
    for _, part in experts_in(module):
        part.losses, part.logs = {}, {}


def routing_losses(module: nn.Module) -> Tensor:
    """The sum over the layers of what their routings want minimised; zero where there are none."""
    terms = [term for _, part in experts_in(module) for _, term in means(part.losses)]
    if terms:
        return torch.stack(terms).sum()
    parameter = next(module.parameters(), None)
    return torch.zeros((), device=None if parameter is None else parameter.device)


def routing_parts(module: nn.Module) -> dict[str, Tensor]:
    """The same terms and what else is logged, by name, each the mean over the layers, without gradient."""
    named: dict[str, list[Tensor]] = {}
    for _, part in experts_in(module):
        for name, term in (*means(part.losses), *means(part.logs)):
            named.setdefault(name, []).append(term.detach())
    return {name: torch.stack(terms).mean() for name, terms in named.items()}


def means(kept: Mapping[str, list[Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Each term of a layer, the mean over the forwards of the step: more crops do not make it heavier."""
    for name, terms in kept.items():
        yield name, torch.stack(terms).mean()
