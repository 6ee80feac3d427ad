"""The one module that is trained: student, teacher, heads, losses and routing, wrapped once by data parallelism.

views  = finish(crops, draws)                 photometric work, on the device, no gradient
mixed  = mix(views)                           derived view groups and their plans
step   = Step(views, student, teacher, ...)   features are computed when a loss first asks, and once
total  = sum of weight * loss(step)           by the sum of weights if so told; + what the routing adds
after_step(step)                              queues and centres, after the backward pass, no gradient
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from sslcli.api import Progress, Reads, ViewShape
from sslcli.data.augmentation import MixAugmentation, ViewAugmentation
from sslcli.data.batch import Batch
from sslcli.errors import UserError
from sslcli.nn import Backbone, Momentum, Step, world
from sslcli.nn.experts import experts_in, forget_routing, routing_losses, routing_parts
from sslcli.nn.random import sample_uniform
from sslcli.training.encoding import Encoding, Packing, crops_read, features_of


@dataclass(frozen=True)
class Term:
    """A loss of the recipe: its weight in the total and what it reads."""

    name: str
    weight: float
    reads: Reads
    loss: nn.Module


class Pretraining(nn.Module):
    """`forward(batch, progress)` is the total loss of one process's slice; `step` keeps what the losses saw."""

    def __init__(
        self,
        backbone: Backbone | Momentum,
        terms: Iterable[Term],
        *,
        views: Mapping[str, ViewAugmentation],
        mixes: Mapping[str, tuple[str, MixAugmentation]],
        shapes: Mapping[str, ViewShape],
        seed: int,
        mean: bool = False,
        together: bool = True,
        packing: Packing = "auto",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.terms = unique_keys(terms)
        self.losses = nn.ModuleDict({key: term.loss for key, term in self.terms.items()})
        self.views = dict(views)
        self.mixes = dict(mixes)
        self.shapes = dict(shapes)
        self.seed = seed
        self.scale = 1.0 / sum(term.weight for term in self.terms.values()) if mean else 1.0
        self.together = together  # crops of a group share a forward
        self.packing = packing  # and so do those of all sizes
        reads = [term.reads for term in self.terms.values()]
        self.student_crops = crops_read((read.student for read in reads), shapes)
        self.teacher_crops = crops_read((read.teacher for read in reads), shapes)
        self.step: Step | None = None

    @property
    def student(self) -> Backbone:
        """The backbone that learns."""
        return self.backbone.online if isinstance(self.backbone, Momentum) else self.backbone  # type: ignore[return-value]

    @property
    def teacher(self) -> Backbone:
        """Its moving average, or the student itself where no loss asked for one."""
        return self.backbone.target if isinstance(self.backbone, Momentum) else self.backbone  # type: ignore[return-value]

    def forward(self, batch: Batch, progress: Progress) -> Tensor:
        """The weighted sum of all losses, or their weighted mean, a scalar."""
        step = self.step = self.begin(batch, progress)
        total = torch.zeros((), device=batch.columns["index"].device)
        for key, term in self.terms.items():
            step.scope = key
            value = self.losses[key](step)
            step.logs[key] = value.detach()
            total = total + self.scale * term.weight * value
        step.logs |= {f"routing/{name}": value for name, value in routing_parts(self.student).items()}
        return total + routing_losses(self.student)

    def begin(self, batch: Batch, progress: Progress) -> Step:
        """Views made, nothing encoded yet."""
        forget_routing(self.student)
        images, plans = self.make_views(batch)
        encoding = partial(Encoding, images=images, columns=batch.columns, together=self.together, packing=self.packing)
        return Step(
            backbone=self.student,
            teacher_backbone=self.teacher,
            progress=progress,
            seed=self.seed,
            columns=batch.columns,
            views=images,
            plans=plans,
            encode_student=encoding(self.student, self.student_crops, "student"),
            encode_teacher=encoding(self.teacher, self.teacher_crops, "teacher"),
        )

    @torch.no_grad()
    def make_views(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Mapping[str, Tensor]]]:
        """Normalised images `[crops, B, 3, S, S]` of every group, and the plans of the mixed ones."""
        with torch.autocast(next(iter(batch.columns.values())).device.type, enabled=False):
            images = {group: self.finish(group, batch) for group in self.views}
            plans: dict[str, Mapping[str, Tensor]] = {}
            for group, (source, augmentation) in self.mixes.items():
                images[group], plans[group] = augmentation.mix(images[source], self.uniform(group, batch.columns))
                refuse_other_shape(group, images[group], images[source], self.shapes[group].joined)
        return images, plans

    def finish(self, group: str, batch: Batch) -> Tensor:
        """The photometric part of one group, all crops in one call."""
        crops = batch.crops[group]
        draws = {name: draw.flatten(0, 1) for name, draw in batch.draws[group].items()}
        images = self.views[group].finish(crops.flatten(0, 1), draws)
        return images.view(*crops.shape[:2], *images.shape[1:])

    def uniform(self, group: str, columns: Mapping[str, Tensor]) -> Callable[..., Tensor]:
        """`uniform(key, *shape) -> [B, *shape]`, fixed by the sample."""
        return lambda key, *shape: sample_uniform(
            self.seed, columns["epoch"], columns["index"], f"{group}/{key}", shape
        )

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the losses update their queues and centres."""
        for key, loss in self.losses.items():
            hook = getattr(loss, "after_step", None)
            if hook is not None and self.step is not None:
                self.step.scope = key
                hook(self.step)

    @torch.no_grad()
    def look(self, backbone: Backbone, images: int = 256) -> Tensor:
        """Features `[n, D]` of images of the last step, in evaluation mode: this process's share of `images`."""
        assert self.step is not None
        first = next(iter(self.step.views.values()))[0][: -(-images // world())]
        facts = {name: column[: len(first)] for name, column in self.step.columns.items()}
        with evaluating(backbone):
            return features_of(backbone, first, facts).pooled.float()

    def take_shares(self) -> dict[str, Tensor]:
        """What went to each expert `[E]` on this process since the last call, by the place of the mixture."""
        device = next(self.parameters()).device
        return {
            name.removesuffix(".mlp"): torch.tensor(part.take_shares(), device=device, dtype=torch.float32)
            for name, part in experts_in(self.student)
        }

    def compile_backbones(self) -> None:
        """Compile what encodes, in the student and in the teacher."""
        for backbone in {id(network): network for network in (self.student, self.teacher)}.values():
            compile_in_place(backbone)


def refuse_other_shape(group: str, mixed: Tensor, source: Tensor, joined: int) -> None:
    """A mixed group has the crops of its source, and one image for each `joined` of its samples."""
    expected = (source.shape[0], source.shape[1] // joined)
    if mixed.shape[:2] != expected:
        raise UserError(
            f"views.{group} is mixed to {tuple(mixed.shape[:2])} crops and samples from {tuple(source.shape[:2])}",
            f"its augmentation's mix() must return {expected}: it joins {joined}",
        )


@contextmanager
def evaluating(backbone: Backbone) -> Iterator[Backbone]:
    """The backbone in evaluation mode, and back as it was."""
    was_training = backbone.training
    backbone.eval()
    try:
        yield backbone
    finally:
        backbone.train(was_training)


def compile_in_place(backbone: Backbone) -> None:
    """Replace the encoding methods of one backbone by compiled ones."""
    for method in ("features", "embed", "encode", "encode_together"):
        setattr(backbone, method, torch.compile(getattr(backbone, method)))


def unique_keys(terms: Iterable[Term]) -> dict[str, Term]:
    """Terms by a name that may stand in a parameter name; a loss used twice gets a number."""
    keyed: dict[str, Term] = {}
    for term in terms:
        base = term.name.replace(".", "_")
        key = base = f"{base}_" if hasattr(nn.ModuleDict, base) else base  # a loss may be called "half"
        count = 2
        while key in keyed:
            key, count = f"{base}_{count}", count + 1
        keyed[key] = term
    return keyed
