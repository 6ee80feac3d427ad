"""From options to an optimizer: parameter groups by rule, rates and decays set every step, clipping, freezing."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from sslcli.api import Progress, value_at
from sslcli.errors import UserError
from sslcli.nn import Backbone
from sslcli.recipe.tables import Freeze, Optimizer
from sslcli.training.lars import Lars
from sslcli.training.schedule import LearningRate

Named = list[tuple[str, nn.Parameter]]
FREEZE_HINT = (
    "take them out of training by [[optimizer.freeze]] with parameters = [names or patterns], or mend the loss"
)


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Names that a pattern such as `backbone.*.patch_embed.*` covers; refused when there are none.

    A pattern for a loss that is not trained, such as one of weight 0, covers nothing.
    """
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found and not absent_loss(pattern, names):
        raise UserError(
            f"no parameter is called {pattern!r}",
            f"patterns are matched against whole names, such as {', '.join(names[:3])}",
        )
    return found


def absent_loss(pattern: str, names: Iterable[str]) -> str:
    """The loss that a pattern such as `losses.mugs_group.*` speaks of, when it is not among those that are trained."""
    top, _, rest = pattern.partition(".")
    loss = rest.partition(".")[0]
    there = top != "losses" or any(fnmatchcase(name, f"losses.{loss}.*") for name in names)
    return "" if there else loss


def patterns_of_absent_losses(model: nn.Module, options: Optimizer) -> list[str]:
    """Patterns of the recipe that cover nothing, because their loss is not trained."""
    names = [name for name, _ in model.named_parameters()]
    patterns = [*options.lr_factors, *(pattern for freeze in options.freeze for pattern in freeze.parameters)]
    return [pattern for pattern in patterns if absent_loss(pattern, names)]


def freeze_for_ever(model: nn.Module, freezes: Sequence[Freeze]) -> None:
    """Take the parameters that never learn out of the gradient."""
    parameters = dict(model.named_parameters())
    for freeze in (freeze for freeze in freezes if freeze.epochs is None):
        for name in (name for pattern in freeze.parameters for name in matching(pattern, parameters)):
            parameters[name].requires_grad_(False)


def parameter_groups(model: nn.Module, student: Backbone, options: Optimizer) -> list[dict[str, Any]]:
    """Trainable parameters, grouped by whether they decay and by the factor on their rate."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    factors = rate_factors(named, student, options)
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in named:
        decays = options.decay == "all" or decays_by_rule(name, parameter)
        key = (decays, factors[name])
        group = groups.setdefault(key, {"params": [], "names": [], "decays": decays, "factor": factors[name]})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def decays_by_rule(name: str, parameter: Tensor) -> bool:
    """Biases and 1-D parameters (norms) do not decay; tokens and position tables, being 3-D, do."""
    return parameter.ndim > 1 and not name.endswith(".bias")


def rate_factors(named: Named, student: Backbone, options: Optimizer) -> dict[str, float]:
    """Factor on the rate of each parameter: layer decay times every pattern that covers it."""
    factors = {name: 1.0 for name, _ in named}
    if options.layer_decay < 1.0:
        layers = layer_numbers(student)
        top = max(layers.values()) + 1  # heads, outside the backbone
        for name, parameter in named:
            factors[name] *= options.layer_decay ** (top - layers.get(id(parameter), top))
    for pattern, factor in options.lr_factors.items():
        for name in matching(pattern, factors):
            factors[name] *= factor
    return factors


def layer_numbers(student: Backbone) -> dict[int, int]:
    """Layer of each backbone parameter (by id): embeddings 0, block i at i + 1, the last norm with the last block."""
    network = student.exported
    matcher = getattr(network, "group_matcher", None)
    if matcher is None:
        raise UserError("layer_decay needs a backbone that timm knows the layers of", "leave optimizer.layer_decay out")
    parameters = dict(network.named_parameters())
    grouped = group_parameters(network, matcher(coarse=False), reverse=False)
    return {id(parameters[name]): number for number, names in grouped.items() for name in names if name in parameters}


def make_optimizer(groups: list[dict[str, Any]], options: Optimizer, peak: float) -> torch.optim.Optimizer:
    """The optimizer by name."""
    for group in groups:
        group["weight_decay"] = 0.0
    if options.name == "adamw":
        return torch.optim.AdamW(groups, lr=peak, betas=options.betas, eps=options.eps, fused=True)
    if options.name == "sgd":
        return torch.optim.SGD(groups, lr=peak, momentum=options.momentum, nesterov=options.nesterov)
    for group in groups:
        group["adapt"] = group["decays"]
    return Lars(groups, lr=peak, momentum=options.momentum, trust=options.trust)


def set_rates(optimizer: torch.optim.Optimizer, options: Optimizer, rate: LearningRate, progress: Progress) -> None:
    """Rate and weight decay of this step, group by group."""
    lr, decay = rate.at(progress.step), value_at(options.weight_decay, progress)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["factor"]
        group["weight_decay"] = decay if group["decays"] else 0.0


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], limit: float, mode: str) -> Tensor:
    """Scale gradients whose norm is over `limit`, all by one factor or each by its own; returns the global norm."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack(torch._foreach_norm(gradients))
    total: Tensor = torch.linalg.vector_norm(norms)
    if mode == "global":
        torch._foreach_mul_(gradients, torch.clamp(limit / (total + 1e-6), max=1.0))
    else:
        factors = torch.clamp(limit / (norms + 1e-6), max=1.0)
        torch._foreach_mul_(gradients, list(factors.unbind()))
    return total


def without_gradient(model: nn.Module) -> str:
    """A complaint that names the parameters that learn and have no gradient after a backward pass; or nothing."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"no loss gives a gradient to {', '.join(names[:4])}{more}" if names else ""


class Thaw:
    """Parameters that start to learn later: their gradient is dropped until then, so moments and decay wait too."""

    def __init__(self, model: nn.Module, freezes: Sequence[Freeze]) -> None:
        parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.waiting = [
            (
                freeze.epochs,
                [parameters[name] for pattern in freeze.parameters for name in matching(pattern, parameters)],
            )
            for freeze in freezes
            if freeze.epochs is not None
        ]

    def drop_gradients(self, progress: Progress) -> None:
        """Forget the gradients of what is still frozen at this step."""
        for epochs, parameters in self.waiting:
            if progress.step < epochs * progress.steps_per_epoch:
                for parameter in parameters:
                    parameter.grad = None
