"""Local-group discrimination: an image together with its nearest neighbours."""

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Features, Limit, Momentum, Queue, Step, queue_size
from sslcli_mugs.contrast import QueueContrast
from sslcli_mugs.crops import student_crops
from sslcli_mugs.options import LocalGroupOptions
from sslcli_mugs.relation import Relation

ONE_NEIGHBOUR = Limit(
    "the relation block looks at one neighbour only",
    most=0.98,
    hint="lower optimizer.lr or lengthen its warm-up; the local groups say nothing as they are",
)


class LocalGroupDiscrimination(nn.Module):
    """Groups of the student's crops find the teacher's groups of other crops of the same image.

    group(x) = norm(relation([q, n_1 ... n_k])_0), with q the mean of all tokens of x before the last norm, and n_i its
    nearest neighbours by cosine in a memory of mean patch tokens after that norm (Mugs, arXiv:2203.14415, as released).
    Each network has a memory of its own, and uses its own last norm.
    """

    def __init__(self, options: LocalGroupOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.relation = Momentum(Relation(context.width, options.relation_heads or context.heads))
        self.contrast = QueueContrast("mugs.local_group", options, context)
        size = queue_size(
            options.memory, least=context.batch_size, samples=context.samples, what="mugs.local_group: memory"
        )
        if options.neighbours > size:
            raise UserError(
                f"mugs.local_group: {options.neighbours} neighbours out of a memory of {size}",
                "set neighbours lower, or memory higher where the data allow it",
            )
        self.itself = Limit(  # a picture is in a memory about once, and so one neighbour of k at most
            "nearly every picture has itself, of an earlier epoch, among its neighbours",
            most=0.9 / options.neighbours,
            hint="make the memory much smaller than the data",
            stops=False,
        )
        self.student_memory = Queue(size, context.width)
        self.teacher_memory = Queue(size, context.width)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = step.backbone.last_norm(self.student_groups(step))
        with torch.no_grad():
            teacher = step.teacher_backbone.last_norm(self.teacher_groups(step))
        loss: Tensor = self.contrast(step, student, teacher)
        return loss

    def student_groups(self, step: Step) -> Tensor:
        """Groups of the student's crops, `[crops, B, D]`, before the last norm; notes how its neighbours are."""
        queries = student_crops(step, self.options, mean_token)
        places = self.student_memory.nearest(queries, self.options.neighbours)
        neighbours = self.student_memory.rows[places]
        own = self.student_memory.owners[places] == step.column("index")[:, None]
        step.log("own_neighbours", own.float().mean(), self.itself)
        relation = cast(Relation, self.relation.online)
        step.log("attention_on_one", relation.strongest(queries[0], neighbours[0]), ONE_NEIGHBOUR)
        step.log("student_memory_filled", self.student_memory.filled)
        step.log("teacher_memory_filled", self.teacher_memory.filled)
        groups: Tensor = relation(queries, neighbours)
        return groups

    @torch.no_grad()
    def teacher_groups(self, step: Step) -> Tensor:
        """Groups of the teacher's crops, `[crops, B, D]`, before the last norm."""
        queries = mean_token(step.teacher(self.options.taught))
        neighbours = self.teacher_memory.rows[self.teacher_memory.nearest(queries, self.options.neighbours)]
        groups: Tensor = self.relation.target(queries, neighbours)
        return groups

    def after_step(self, step: Step) -> None:
        """Keys into the queue; the first crop of every image into the memories, of the student's where it may."""
        self.contrast.push(step)
        remember = partial(self.remember, owners=step.column("index"))
        remember(self.teacher_memory, step.teacher(self.options.taught))
        column = self.options.memory_column
        remember(self.student_memory, step.student(self.options.views), keep=step.column(column) if column else None)

    def remember(self, memory: Queue, features: Features, *, owners: Tensor, keep: Tensor | None = None) -> None:
        """The mean patch token after the last norm of crop 0, `[B, D]`, into a memory.

        The released code moves on by twice what it wrote unless it wrote over the end, and so leaves holes; so does
        `legacy`.
        """
        before = memory.place.clone()
        count = memory.push(features.patches[0].mean(dim=1), owners, keep)
        if self.options.legacy:
            memory.advance(count * (before + count <= memory.size))


def mean_token(features: Features) -> Tensor:
    """The mean over all tokens, CLS too, before the last norm, `[..., D]`."""
    return features.tokens.mean(dim=-2)
