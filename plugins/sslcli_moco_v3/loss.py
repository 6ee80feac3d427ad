"""MoCo v3 (arXiv:2104.02057): contrast between the crops of an image, with a momentum encoder and a predictor."""

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Features, Momentum, Queue, Step, at_least_fp32, info_nce, mlp_head, queue_size
from sslcli_moco_v3.options import MomentumContrastOptions


class MomentumContrast(nn.Module):
    """`2 tau [ctr(q1, k2) + ctr(q2, k1)]`, the keys those of all ranks.

    With C > 2 crops the mean over all ordered pairs, times two: the same weight as with two crops. Each crop goes
    through the heads on its own, so batch norm sees one view at a time. With a queue, the keys of the steps before are
    negatives too.
    """

    def __init__(self, options: MomentumContrastOptions, context: Context) -> None:
        super().__init__()
        check(options, context)
        self.views = options.views
        self.temperature = options.temperature
        hidden, output = options.hidden, options.output
        self.projector = Momentum(mlp_head(context.width, hidden, output, options.projector_layers))
        self.predictor = mlp_head(
            output,
            hidden,
            output,
            options.predictor_layers,
            last_norm="plain" if options.predictor_last_norm else "none",
        )
        self.queue = make_queue(options, context)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        queries, keys = self.queries(step.student(self.views)), self.keys_of(step)
        if self.queue is None:
            return contrast(queries, keys, self.temperature)
        step.log("queue_filled", self.queue.filled)
        return contrast(queries, keys, self.temperature, self.queue.rows)

    def after_step(self, step: Step) -> None:
        """The keys of this step into the queue, crop by crop, those of all ranks."""
        if self.queue is not None:
            for crop in self.keys_of(step):
                self.queue.push(F.normalize(at_least_fp32(crop), dim=-1), step.column("index"))

    def keys_of(self, step: Step) -> list[Tensor]:
        """The keys of a step, made once: they are pushed after it."""
        return step.once(f"{step.scope}/keys", lambda: self.keys(step.teacher(self.views)))

    def queries(self, features: Features) -> list[Tensor]:
        """Predicted projections `[B, output]`, crop by crop."""
        return [self.predictor(self.projector.online(crop)) for crop in features.pooled]

    @torch.no_grad()
    def keys(self, features: Features) -> list[Tensor]:
        """The teacher's projections `[B, output]`, crop by crop, without gradient."""
        return [self.projector.target(crop) for crop in features.pooled]


def contrast(queries: list[Tensor], keys: list[Tensor], temperature: float, negatives: Tensor | None = None) -> Tensor:
    """Every query against the keys of every other crop: mean over ordered pairs, times two, times 2 tau."""
    pairs = list(permutations(range(len(queries)), 2))
    terms = [info_nce(queries[query], keys[key], temperature, negatives=negatives) for query, key in pairs]
    return 2 * temperature * 2 * torch.stack(terms).mean()


def make_queue(options: MomentumContrastOptions, context: Context) -> Queue | None:
    """The queue, checked, or nothing."""
    if not options.queue:
        return None
    brought = context.views[options.views].crops * context.batch_size  # by a step: a key of every crop
    size = queue_size(options.queue, least=brought, samples=context.samples, what="moco_v3: queue")
    return Queue(size, options.output, unit=True)


def check(options: MomentumContrastOptions, context: Context) -> None:
    """Refuse a group with a single crop."""
    view = context.views.get(options.views)
    if view is not None and view.crops < 2:
        raise UserError(
            f"moco_v3: the view group {options.views!r} has one crop, and there is nothing to compare it with",
            f"set views.{options.views}.crops = 2",
        )
