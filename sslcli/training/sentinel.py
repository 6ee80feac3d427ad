"""Watches a run for the two ways in which it can be lost while it still runs: no number any more, or no information."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli.errors import Collapse
from sslcli.nn import Limit, gather
from sslcli.nn import health as measures
from sslcli.recipe.tables import Sentinel as Options

FEWEST = 8  # pictures
LOST = (
    "most often the learning rate is too high, the warm-up too short, or fp16 overflows: lower optimizer.lr, "
    "set optimizer.clip, or use train.precision = 'bf16' or 'fp32'"
)


@dataclass(frozen=True)
class Health:
    """How much the features of a batch tell the pictures apart. The first two are judged, all are told."""

    effective_rank: float  # exp(entropy of the singular values) of the centred features: directions in use
    spread: float  # rms distance of the unit features from their mean, 0 (all alike) to 1
    rankme: float = math.nan  # the same entropy of the features as they come
    alpha_req: float = math.nan  # how steeply the variances fall: variance ~ rank^-alpha; NaN where they are too few
    uniformity: float = math.nan  # log mean exp(-2 |x - y|^2) of unit features, 0 (all alike) to about -4

    def numbers(self) -> dict[str, float]:
        """For the metrics; what these pictures are too few for is left out."""
        judged = {"health/effective_rank": self.effective_rank, "health/spread": self.spread}
        told = {"rankme": self.rankme, "alpha_req": self.alpha_req, "uniformity": self.uniformity}
        return judged | {f"health/{name}": value for name, value in told.items() if not math.isnan(value)}


def health(features: Tensor) -> Health:
    """Health of features `[N, D]`, by the measures of `sslcli.nn.health`."""
    if not features.isfinite().all():
        return Health(math.nan, math.nan)
    return Health(
        effective_rank=measures.effective_rank(features),
        spread=measures.spread(features),
        rankme=measures.rankme(features),
        alpha_req=measures.alpha_req(features),
        uniformity=measures.uniformity(features),
    )


class Sentinel:
    """Judges numbers and features; raises `Collapse` when the run is lost.

    Its state: how many looks in a row were poor, `low` for the features, `out` for each number with a limit.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.low = 0
        self.out: dict[str, int] = {}
        self.dead: dict[str, tuple[int, ...]] = {}  # experts that were told of; not saved: a resumed run tells again

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

    def check_experts(self, step: int, shares: Mapping[str, Tensor]) -> tuple[dict[str, float], list[str]]:
        """Shares of the busiest and the idlest expert, for the metrics, and a warning for each layer with dead ones.

        `shares` are what went to each expert `[E]` since the last look, by layer, of this process. The same experts of
        a layer are complained about once.
        """
        numbers: dict[str, float] = {}
        warnings: list[str] = []
        for layer, counts in shares.items():
            together = gather(counts[None]).sum(dim=0)
            part = (together / together.sum().clamp_min(1)).tolist()
            numbers |= {f"routing/{layer}/busiest": max(part), f"routing/{layer}/idlest": min(part)}
            dead = tuple(expert for expert, share in enumerate(part) if share == 0)
            if dead and dead != self.dead.get(layer):
                warnings.append(dead_experts(layer, dead, len(part), step))
            self.dead[layer] = dead
        return numbers, warnings

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


def dead_experts(layer: str, dead: tuple[int, ...], count: int, step: int) -> str:
    """Which experts of a layer nothing went to, and what to do."""
    if len(dead) == count - 1:
        alive = next(expert for expert in range(count) if expert not in dead)
        said = f"all goes to expert {alive} of {layer}: the routing has collapsed"
    else:
        named = ", ".join(map(str, dead))
        said = f"nothing goes to expert{'s' if len(dead) > 1 else ''} {named} of {layer}, of {count}"
    return (
        f"{said}, since the last look before step {step + 1}; raise the weight of the routing's balance, or lower "
        "routing.experts"
    )
