"""A `Step` on random images, to call a loss without a training loop, and what it is made of."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from sslcli.api import Context, Offer, Options, Progress, Reads, ViewShape
from sslcli.nn import Backbone, Step
from sslcli.plugins import load_registry, resolve
from sslcli.training.building import with_backbone
from sslcli.training.encoding import Encoding, crops_read

BATCH = 6
GLOBAL: Mapping[str, ViewShape] = {"global": ViewShape(crops=2, size=16)}
TINY_VIT = {"width": 32, "depth": 2, "heads": 2, "patch_size": 8}


def make_context(views: Mapping[str, ViewShape] = GLOBAL, **facts: Any) -> Context:
    """What a plugin's code is told, for these views and a run of ten steps."""
    common = {"image_size": max(shape.size for shape in views.values()), "batch_size": BATCH, "samples": 10 * BATCH}
    return Context(views=views, **{**common, "steps": 10, "steps_per_epoch": 10, **facts})


def make_backbone(context: Context, *, seed: int = 0) -> Backbone:
    """A built-in ViT of width 32 and depth 2 with patches of 8 pixels, which has every ability."""
    offer = load_registry().find("backbone", "vit")
    torch.manual_seed(seed)
    backbone: Backbone = resolve(offer.code)(offer.options(**TINY_VIT), context)
    return backbone


def make_step(
    views: Mapping[str, ViewShape] = GLOBAL,
    *,
    reads: Reads | None = None,
    backbone: Backbone | None = None,
    plans: Mapping[str, Mapping[str, Tensor]] | None = None,
    columns: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Step:
    """A step on random images of these views, encoded by a tiny student and by a teacher with other weights.

    `reads` is what the loss may ask for, everything when left out; `plans` and `columns` are joined to what is there.
    A backbone that is given is the student, and its twin the teacher.
    """
    context = make_context(views)
    student = backbone or make_backbone(context, seed=seed)
    teacher = deepcopy(backbone) if backbone else make_backbone(context, seed=seed + 1)
    images = random_images(views, seed)
    facts = {"index": torch.arange(BATCH), "epoch": torch.zeros(BATCH, dtype=torch.int64), **(columns or {})}
    everything = Reads(student=tuple(views), teacher=tuple(views))

    def encode(network: Backbone, role: str, wanted: Iterable[str]) -> Encoding:
        return Encoding(network, crops_read([wanted], views), role, images=images, columns=facts)

    return Step(
        backbone=student,
        teacher_backbone=teacher,
        progress=Progress(step=0, steps=context.steps, steps_per_epoch=context.steps_per_epoch),
        seed=seed,
        columns=facts,
        views=images,
        plans={} if plans is None else plans,
        encode_student=encode(student, "student", (reads or everything).student),
        encode_teacher=encode(teacher, "teacher", (reads or everything).teacher),
    )


def random_images(views: Mapping[str, ViewShape], seed: int) -> dict[str, Tensor]:
    """Normal noise `[crops, B, 3, S, S]` for every view group; the crops of one picture resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    images = {}
    for group, shape in views.items():
        picture = torch.randn(1, BATCH, 3, shape.size, shape.size, generator=generator)
        noise = torch.randn(shape.crops, BATCH, 3, shape.size, shape.size, generator=generator)
        images[group] = 0.8 * picture + 0.6 * noise
    return images


def build_loss(offer: Offer, options: Options, views: Mapping[str, ViewShape], backbone: Backbone) -> Any:
    """A loss as the host builds it, told the shape of this backbone."""
    torch.manual_seed(0)
    return resolve(offer.code)(options, with_backbone(make_context(views), backbone))
