"""Training of linear heads, and the choice among them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import isfinite
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sslcli.errors import RunError
from sslcli.evaluation.trial import Note
from sslcli.training.schedule import LearningRate
from sslcli_frozen.evaluations.feeding import Fed, Order
from sslcli_frozen.evaluations.heads import Head, Stack
from sslcli_frozen.evaluations.sight import Layout, Sight
from sslcli_frozen.options import LinearOptions

LR_BATCH = 256  # pictures that rates are said for
BLOCK = 4096  # rows at a time, when heads are asked
TOP = 5
SILENCE = 10.0  # seconds between two lines of talk


class Feed(Protocol):
    """Batches, epoch by epoch."""

    @property
    def order(self) -> Order:
        """How many batches, of what size."""

    def epoch(self, number: int) -> Fed:
        """The batches of an epoch."""


@dataclass(frozen=True)
class Score:
    """How a head did on the part held out."""

    head: Head
    right: float  # share
    loss: float


def grid(options: LinearOptions, layouts: Sequence[Layout]) -> list[list[Head]]:
    """Every head that is tried, those of one layout and one optimizer together."""
    return [
        [Head(layout, optimizer, lr, decay) for lr, decay in product(options.lrs, options.weight_decays)]
        for layout, optimizer in product(layouts, options.optimizers)
    ]


def learn(
    heads: Sequence[Sequence[Head]],
    feed: Feed,
    sight: Sight,
    classes: int,
    options: LinearOptions,
    *,
    device: torch.device,
    note: Note,
) -> list[Stack]:
    """Stacks of heads that have learnt. Raises RunError where features are not finite."""
    stacks: list[Stack] = []
    began = spoken = time.monotonic()
    for epoch in range(options.epochs):
        for number, (rows, labels) in enumerate(feed.epoch(epoch)):
            stacks = stacks or begun(heads, rows, sight, classes, options, device)
            step(stacks, rows, labels, sight, options, feed.order, epoch * feed.order.steps + number)
        if time.monotonic() - spoken > SILENCE:
            spoken = time.monotonic()
            note(f"linear: epoch {epoch + 1} of {options.epochs}, {spoken - began:.0f} s")
    if not stacks:
        raise RunError("none of the training pictures can be read any more", "mend them, and judge again")
    return stacks


def begun(
    heads: Sequence[Sequence[Head]],
    rows: Tensor,
    sight: Sight,
    classes: int,
    options: LinearOptions,
    device: torch.device,
) -> list[Stack]:
    """Stacks at their start, as wide as what they read of the rows."""
    widths = [together[0].layout.cut(rows[:1], sight).shape[1] for together in heads]
    make = partial(Stack, classes=classes, start=options.start, seed=options.seed, norm=options.batch_norm)
    return [make(together, width).to(device) for together, width in zip(heads, widths)]


def step(
    stacks: Sequence[Stack],
    rows: Tensor,
    labels: Tensor,
    sight: Sight,
    options: LinearOptions,
    order: Order,
    number: int,
) -> None:
    """One step of all heads."""
    with torch.enable_grad():  # a feed that runs the backbone has switched gradients off around what it yields
        losses = [stack.loss(stack.heads[0].layout.cut(rows, sight), labels) for stack in stacks]
        torch.autograd.backward(losses)
    for stack in stacks:
        rates = [rate_of(head.lr, options, order).at(place_of(number, options, order)) for head in stack.heads]
        stack.move(rows.new_tensor(rates), momentum=options.momentum, nesterov=options.nesterov)


def rate_of(lr: float, options: LinearOptions, order: Order) -> LearningRate:
    """The schedule of a head's rate, in steps or in epochs."""
    unit = order.steps if options.moves == "step" else 1
    peak = lr * order.batch / LR_BATCH
    return LearningRate(peak, options.final_lr, options.warmup_epochs * unit, options.epochs * unit)


def place_of(number: int, options: LinearOptions, order: Order) -> int:
    """Where a step stands in the schedule."""
    return number if options.moves == "step" else number // order.steps


@torch.no_grad()
def answers(stack: Stack, rows: Tensor, sight: Sight, device: torch.device) -> Tensor:
    """Logits `[M, H, C]` of a stack that learns no more, on the CPU."""
    stack.eval()
    layout = stack.heads[0].layout
    return torch.cat([stack(layout.cut(part.to(device), sight)).cpu() for part in torch.split(rows, BLOCK)])


def scores(stacks: Sequence[Stack], rows: Tensor, labels: Tensor, sight: Sight, device: torch.device) -> list[Score]:
    """How every head does on rows that it did not learn from."""
    found = []
    for stack in stacks:
        logits = answers(stack, rows, sight, device)
        for number, head in enumerate(stack.heads):
            right = (logits[:, number].argmax(dim=1) == labels).double().mean().item()
            found.append(Score(head, right, cross_entropy(logits[:, number], labels).item()))
    return found


def ranked(found: Sequence[Score]) -> list[int]:
    """Places of the scores, best first: most right, then the smaller loss. What has diverged comes last."""

    def key(place: int) -> tuple[float, float]:
        score = found[place]
        return (-score.right, score.loss) if isfinite(score.loss) else (1.0, 0.0)

    return sorted(range(len(found)), key=key)


def first_five(stack: Stack, rows: Tensor, sight: Sight, device: torch.device) -> Tensor:
    """The first classes of each picture by a stack of one head, int64 `[M, 5]`, or as many as there are."""
    logits = answers(stack, rows, sight, device)[:, 0]
    return logits.topk(min(TOP, logits.shape[1]), dim=1).indices
