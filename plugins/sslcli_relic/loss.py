"""`relicv2` and `relic`: heads, negatives of the step, and the two terms over all pairs of crops."""

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Features, Momentum, Step, mlp_head, pair_weights, world
from sslcli.nn.contrast import own_rows
from sslcli_relic.likelihood import relic_terms
from sslcli_relic.negatives import draw_others
from sslcli_relic.options import RelicOptions, Relicv2Options


class Relicv2(nn.Module):
    """`alpha * contrast + beta * invariance`, the mean over pairs of the student's crops with the teacher's.

    Each crop goes through the heads on its own, so batch norm sees one view at a time. An image's negatives are drawn
    once a step, for all its pairs.
    """

    weights: Tensor

    def __init__(self, options: Relicv2Options, context: Context) -> None:
        super().__init__()
        check(context)
        self.options = options
        self.projector = Momentum(head(context.width, options))
        self.predictor = head(options.output, options)
        self.register_buffer("weights", weigh_pairs(options, context), persistent=False)  # [student, teacher]

    def forward(self, step: Step) -> Tensor:
        """A scalar; `contrast` and `invariance` are logged."""
        options = self.options
        online = torch.cat([self.outputs(step.student(view)) for view in options.studied])
        terms = relic_terms(
            online,
            self.targets(step.teacher(options.taught)),
            self.negatives(step, online.shape[1]),
            temperature=options.temperature,
            invariance=options.invariance,
            stop_gradient=options.stop_gradient,
        )
        contrast, invariance = ((term * self.weights).sum() for term in terms)
        step.log("contrast", contrast)
        step.log("invariance", invariance)
        return options.alpha * contrast + options.beta * invariance

    def outputs(self, features: Features) -> Tensor:
        """The student's, after projector and predictor, `[crops, B, output]`."""
        return torch.stack([self.predictor(self.projector.online(crop)) for crop in features.pooled])

    @torch.no_grad()
    def targets(self, features: Features) -> Tensor:
        """The teacher's, after its projector, `[crops, B, output]`, without gradient."""
        return torch.stack([self.projector.target(crop) for crop in features.pooled])

    def negatives(self, step: Step, batch: int) -> Tensor | None:
        """Rows of each image's negatives `[B, n]` among those of all ranks; None where all others are negatives."""
        count, images = self.options.negatives, batch * world()
        if count in (0, "all") or int(count) >= images - 1:
            return None
        numbers = step.uniform(f"{step.scope}/negatives", int(count))
        return draw_others(numbers, own_rows(batch, numbers.device), images)


class Relic(Relicv2):
    """Version 1: `contrast + alpha * invariance` over large crops of different numbers, all others as negatives."""

    def __init__(self, options: RelicOptions, context: Context) -> None:
        super().__init__(as_version_2(options), context)


def as_version_2(options: RelicOptions) -> Relicv2Options:
    """The options of `relicv2` that make it version 1."""
    return Relicv2Options(
        weight=options.weight,
        views=options.views,
        temperature=options.temperature,
        alpha=1.0,
        beta=options.alpha,
        negatives="all",
        invariance="k1",
        stop_gradient=options.stop_gradient,
        same_crop=False,
        hidden=options.hidden,
        output=options.output,
    )


def head(width: int, options: Relicv2Options) -> nn.Sequential:
    """Projector or predictor, as in BYOL: linear with bias, batch norm, ReLU, linear without bias, and no norm."""
    return mlp_head(width, options.hidden, options.output, 2, bias="hidden", last_norm="none")


def weigh_pairs(options: Relicv2Options, context: Context) -> Tensor:
    """Weights `[student, teacher]` that sum to one, the same for every pair that counts."""
    taught, large, small = map(context.crops, (options.taught, options.views, options.local_views))
    weights = pair_weights(taught, large, small).T
    return torch.full_like(weights, 1.0 / weights.numel()) if options.same_crop else weights


def check(context: Context) -> None:
    """Refuse a batch without negatives."""
    if context.batch_size < 2:
        raise UserError(
            f"relic: in a batch of {context.batch_size} an image has no negatives",
            "raise train.batch_size",
        )
