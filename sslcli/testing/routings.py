"""What is asked of a routing: gates `[B, N, E]`, finite and not negative, in full precision, that learn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.api import Offer, RoutingOptions
from sslcli.nn.experts import Route
from sslcli.plugins import resolve
from sslcli.testing.examples import example_options
from sslcli.testing.pictures import write_pictures
from sslcli.testing.results import expect
from sslcli.testing.steps import make_context

BATCH, TOKENS, WIDTH = 4, 6, 32


class RoutingCase:
    """A routing, and tokens with the facts of their images."""

    def __init__(self, offer: Offer) -> None:
        with TemporaryDirectory() as folder:
            self.build(offer, Path(folder))
        self.tokens = torch.randn(BATCH, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))
        self.columns = {"index": torch.arange(BATCH), "epoch": torch.zeros(BATCH, dtype=torch.int64)}

    def build(self, offer: Offer, folder: Path) -> None:
        """As the host builds it, on files written for it where its options name some."""
        data = write_pictures(folder / "pictures")
        options = example_options(offer, **offer.options.trial_values(folder, str(data)))
        assert isinstance(options, RoutingOptions)
        torch.manual_seed(0)
        context = replace(make_context(), width=WIDTH, depth=2, block=1, patch_size=8, grid=(2, 3))
        self.routing = resolve(offer.code)(options, context)
        self.experts = options.experts

    def route(self, tokens: Tensor | None = None) -> Any:
        """Where the tokens go."""
        return self.routing(self.tokens if tokens is None else tokens, self.columns)


def prepare(offer: Offer) -> RoutingCase:
    """The routing, built as the host builds it."""
    return RoutingCase(offer)


def checks_of(offer: Offer) -> tuple[Callable[[RoutingCase], None], ...]:
    """The checks of a routing, in order."""
    return (
        is_a_module,
        returns_a_route,
        gives_a_gate_for_every_token_and_expert,
        gives_finite_gates_that_are_not_negative,
        sends_every_token_somewhere,
        keeps_full_precision,
        gives_losses_that_are_finite_scalars,
    )


def is_a_module(case: RoutingCase) -> None:
    """Its parameters are found because it is a module."""
    expect(isinstance(case.routing, nn.Module), f"it is a {type(case.routing).__name__}, not a torch.nn.Module")


def returns_a_route(case: RoutingCase) -> None:
    """`Route(gates, losses)` of sslcli.nn.experts."""
    route = case.route()
    expect(isinstance(route, Route), f"it returns a {type(route).__name__}, not a sslcli.nn.experts.Route")


def gives_a_gate_for_every_token_and_expert(case: RoutingCase) -> None:
    """`[B, N, E]`, or `[B, 1, E]` for all tokens of an image."""
    shape, expected = tuple(case.route().gates.shape), (BATCH, TOKENS, case.experts)
    expect(shape in (expected, (BATCH, 1, case.experts)), f"gates are {shape}, not {expected}")


def gives_finite_gates_that_are_not_negative(case: RoutingCase) -> None:
    """A gate weighs an expert's output."""
    gates = case.route().gates
    expect(gates.isfinite().all(), "a gate is not finite")
    expect((gates >= 0).all(), "a gate is negative")


def sends_every_token_somewhere(case: RoutingCase) -> None:
    """A token whose gates are all zero is lost."""
    expect((case.route().gates.sum(-1) > 0).all(), "some token goes to no expert")


def keeps_full_precision(case: RoutingCase) -> None:
    """Gates are 32-bit numbers whatever the precision of the tokens."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gates = case.route(case.tokens.bfloat16()).gates
    expect(gates.dtype == torch.float32, f"gates are {gates.dtype} in bf16 training, not float32")


def gives_losses_that_are_finite_scalars(case: RoutingCase) -> None:
    """Each term is added to the total."""
    for name, term in case.route().losses.items():
        expect(isinstance(term, Tensor) and term.dim() == 0, f"the loss '{name}' is no scalar tensor")
        expect(term.isfinite(), f"the loss '{name}' is {term.item()}")
