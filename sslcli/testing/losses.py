"""What is asked of a loss: a finite scalar with gradients, from a step that it leaves as it was."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.api import LossOptions, Offer
from sslcli.nn import Step
from sslcli.testing.examples import example_options, views_read
from sslcli.testing.results import Skip, expect
from sslcli.testing.steps import build_loss, make_backbone, make_context, make_step


class Unplanned(dict[str, Mapping[str, Tensor]]):
    """The plans of a step that has no mixed views: a loss that asks for one cannot be checked on it."""

    def __missing__(self, view: str) -> Mapping[str, Tensor]:
        raise Skip(f"it asks for the plan of '{view}', which only a real mix can give; see the training check")


class LossCase:
    """A loss built as the host builds it, with a step that holds what it reads."""

    def __init__(self, offer: Offer) -> None:
        options = example_options(offer)
        assert isinstance(options, LossOptions)
        views = views_read(options.reads())
        backbone = make_backbone(make_context(views))
        self.step = make_step(views, reads=options.reads(), backbone=backbone, plans=Unplanned())
        self.before = tensors_of(self.step)
        self.loss = build_loss(offer, options, views, backbone)


def prepare(offer: Offer) -> LossCase:
    """The loss and a step for it."""
    return LossCase(offer)


def checks_of(offer: Offer) -> tuple[Callable[[LossCase], None], ...]:
    """The checks of a loss, in order."""
    return (
        is_a_module,
        gives_a_finite_scalar,
        gives_finite_gradients_to_the_backbone,
        leaves_the_step_as_it_was,
        logs_numbers,
        can_be_told_that_the_step_is_over,
    )


def is_a_module(case: LossCase) -> None:
    """Parameters of a loss are found, moved and saved because it is a module."""
    expect(isinstance(case.loss, nn.Module), f"it is a {type(case.loss).__name__}, not a torch.nn.Module")


def gives_a_finite_scalar(case: LossCase) -> None:
    """`loss(step)` is a tensor without axes."""
    value = case.loss(case.step)
    expect(isinstance(value, Tensor), f"it returns a {type(value).__name__}, not a tensor")
    expect(value.dim() == 0, f"it returns a tensor of shape {tuple(value.shape)}, not a scalar")
    expect(value.isfinite(), f"it returns {value.item()} on random images")


def gives_finite_gradients_to_the_backbone(case: LossCase) -> None:
    """Something of the backbone learns, and nothing of it becomes NaN."""
    case.step.backbone.zero_grad()
    fresh(case.step)
    case.loss(case.step).backward()
    gradients = [parameter.grad for parameter in case.step.backbone.parameters() if parameter.grad is not None]
    expect(any(gradient.any() for gradient in gradients), "the backbone gets no gradient from it")
    expect(all(gradient.isfinite().all() for gradient in gradients), "a gradient of the backbone is not finite")


def leaves_the_step_as_it_was(case: LossCase) -> None:
    """Images and columns are shared by all losses."""
    fresh(case.step)
    case.loss(case.step)
    after = tensors_of(case.step)
    changed = [name for name, tensor in case.before.items() if not torch.equal(tensor, after[name])]
    expect(not changed, f"it changes what other losses read: {', '.join(changed)}")


def logs_numbers(case: LossCase) -> None:
    """What it logs are scalars."""
    fresh(case.step)
    case.loss(case.step)
    wrong = [name for name, value in case.step.logs.items() if value.numel() != 1]
    expect(not wrong, f"it logs more than a number as {', '.join(wrong)}")


def can_be_told_that_the_step_is_over(case: LossCase) -> None:
    """`after_step`, where it has one, and a second step after it."""
    hook: Any = getattr(case.loss, "after_step", None)
    if hook is None:
        return
    with torch.no_grad():
        hook(case.step)
    gives_a_finite_scalar(case)


def fresh(step: Step) -> None:
    """Forget what was computed for the step, so that the loss computes it again."""
    step.shared.clear()
    step.logs.clear()
    for encode in (step.encode_student, step.encode_teacher):
        getattr(encode, "encoded", {}).clear()


def tensors_of(step: Step) -> dict[str, Tensor]:
    """Copies of the images and columns of a step."""
    return {name: tensor.clone() for name, tensor in (*step.views.items(), *step.columns.items())}
