"""Watches a run for the two ways in which it can be lost while it still runs: no number any more, or no information."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli.errors import Collapse
from sslcli.nn import Limit, gather
from sslcli.recipe.tables import Sentinel as Options

FEWEST = 8  # pictures
LOST = (
    "most often the learning rate is too high, the warm-up too short, or fp16 overflows: lower optimizer.lr, "
    "set optimizer.clip, or use train.precision = 'bf16' or 'fp32'"
)


@dataclass(frozen=True)
class Health:
    """How much the features of a batch tell the pictures apart."""

    effective_rank: float  # exp(entropy of the singular values) of the centred features: directions in use
    spread: float  # rms distance of the unit features from their mean, 0 (all alike) to 1

    def numbers(self) -> dict[str, float]:
        """For the metrics."""
        return {"health/effective_rank": self.effective_rank, "health/spread": self.spread}


def health(features: Tensor) -> Health:
    """Health of features `[N, D]`; effective rank as in Roy & Vetterli 2007, put to this use by arXiv 2210.02885."""
    unit = torch.nn.functional.normalize(features.cpu().double(), dim=1)  # Apple's GPU has no 64 bits
    centred = unit - unit.mean(dim=0)
    spread = centred.square().sum(dim=1).mean().sqrt()
    values = torch.linalg.svdvals(centred)
    if not torch.isfinite(values).all():
        return Health(math.nan, math.nan)
    share = values / values.sum().clamp_min(1e-12)
    entropy = -(share * share.clamp_min(1e-12).log()).sum()
    return Health(effective_rank=math.exp(entropy.item()), spread=spread.item())


class Sentinel:
    """Judges numbers and features; raises `Collapse` when the run is lost.

    Its only state: how many looks in a row were poor, `low` for the features, `out` for each number with a limit.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.low = 0
        self.out: dict[str, int] = {}

    def due(self, step: int) -> bool:
        """Whether features are looked at after this step."""
        return self.options.every_steps > 0 and (step + 1) % self.options.every_steps == 0

    def check_loss(self, step: int, parts: Mapping[str, float], last_checkpoint: str) -> None:
        """Stop when a loss is not finite."""
        bad = [name for name, value in parts.items() if not math.isfinite(value)]
        if bad and self.options.stop:
            raise Collapse(
                f"the loss is no longer a number: {', '.join(f'{name} is {parts[name]}' for name in bad)} "
                f"by step {step + 1}; {last_checkpoint}",
                LOST,
            )

    def check_parameters(self, step: int, model: nn.Module, last_checkpoint: str) -> None:
        """Stop rather than save a model that is not finite."""
        norms = torch.stack(torch._foreach_norm([parameter.detach() for parameter in model.parameters()]))
        if self.options.stop and not torch.isfinite(norms).all():
            names = [name for name, _ in model.named_parameters()]
            first = names[int((~torch.isfinite(norms)).nonzero()[0])]
            raise Collapse(
                f"the model is no longer finite by step {step} ({first}), and is not saved; {last_checkpoint}",
                LOST,
            )

    def check_features(self, step: int, features: Tensor) -> tuple[Health, str]:
        """Health of this process's features `[n, D]` with those of all others, and a warning where it is poor.

        Fewer than `FEWEST` pictures are measured, not judged: two always lie along one direction.
        """
        together = gather(features)
        found = health(together)
        complaint = self.complaint(found) if len(together) >= FEWEST else ""
        self.low = self.low + 1 if complaint else 0
        if complaint and self.low >= self.options.patience and self.options.stop:
            raise Collapse(
                f"the features have collapsed: {complaint}, at {self.low} looks in a row up to step {step + 1}",
                "nothing keeps the pictures apart: check that the loss has negatives, a predictor or a teacher, "
                "lower optimizer.lr, or raise teacher.momentum; [sentinel] sets what counts as a collapse",
            )
        return found, f"poor features at step {step + 1}: {complaint}" if complaint else ""

    def check_limits(self, step: int, parts: Mapping[str, float], limits: Mapping[str, Limit]) -> list[str]:
        """Warnings for numbers that left the limits that their losses set; too long out of them is a collapse."""
        warnings = []
        for name, limit in limits.items():
            holds = name not in parts or limit.holds(parts[name])
            self.out[name] = 0 if holds else self.out.get(name, 0) + 1
            if holds:
                continue
            said = f"{limit.complaint} ({name} is {parts[name]:.4g})"
            if limit.stops and self.options.stop and self.out[name] >= self.options.patience:
                raise Collapse(f"{said}, at {self.out[name]} looks in a row up to step {step + 1}", limit.hint)
            warnings.append(f"{said} at step {step + 1}; {limit.hint}" if limit.hint else f"{said} at step {step + 1}")
        return warnings

    def complaint(self, found: Health) -> str:
        """What is wrong with these features, in words; nothing when they are well."""
        options = self.options
        if not math.isfinite(found.spread):
            return "they are not finite"
        if found.spread < options.min_spread:
            return (
                f"all pictures get nearly the same vector (spread {found.spread:.5f}, "
                f"least allowed {options.min_spread})"
            )
        if found.effective_rank < options.min_effective_rank:
            return (
                f"they vary along one direction only (effective rank {found.effective_rank:.2f}, "
                f"least allowed {options.min_effective_rank})"
            )
        return ""
