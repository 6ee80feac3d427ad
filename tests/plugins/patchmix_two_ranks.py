"""PatchMix on a whole batch, or on its halves: `python patchmix_two_ranks.py RANK WORLD FOLDER`.

With rings that lie within a half, no number may depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sslcli_patchmix.augmentation import PatchMix
from sslcli_patchmix.loss import SimilarityContrast, soft_contrast
from sslcli_patchmix.mix_options import PatchMixOptions
from sslcli_patchmix.mixing import ring_partners
from sslcli_patchmix.options import MixToMixOptions, MixToOriginOptions, OriginToOriginOptions
from sslcli_patchmix.targets import Parts, overlap, smooth, whole
from torch import Tensor, nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.nn import Features, Step, all_mean, gather, rank, sample_uniform, world
from sslcli.nn.batchnorm import synchronise_batch_norm

SHAPES = {"global": ViewShape(2, 8), "local": ViewShape(3, 4)}
VIEWS = {**SHAPES, "mixed": SHAPES["global"], "mixed_local": SHAPES["local"]}
BATCH, RING, WIDTH = 8, 4, 6
HEADS = {"hidden": 8, "output": 4}
LOSSES = {
    "oto": OriginToOriginOptions(local_views="local", symmetric=True, **HEADS),
    "mto": MixToOriginOptions(local_views="mixed_local", smoothing=0.1, **HEADS),
    "mtm": MixToMixOptions(symmetric=True, **HEADS),
}
Q = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]
K = [[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1], [1, 1, 0]]
MQ = [[1, 1, 0], [0, 1, 1], [1, 0, 2], [2, 1, 0]]
MK = [[1, 1, 0.5], [0.5, 1, 1], [1, 0.5, 1], [1, 0, 0.5]]


def mine(rows: Tensor) -> Tensor:
    """This rank's part of the rows of the batch."""
    return rows.chunk(world())[rank()]


def group(pooled: Tensor) -> Features:
    """Features whose pooled vectors are given."""
    return Features(pooled[..., None, :], pooled[..., None, :], 1, pooled)


def encoded(images: dict[str, Tensor], network: nn.Module, view: str) -> Features:
    """A network on the mean of every quarter of the pictures."""
    name, _, crop = view.partition(":")
    pictures = images[name][int(crop)] if crop else images[name]
    quarters = nn.functional.adaptive_avg_pool2d(pictures.flatten(0, -4), 2).flatten(1)
    return group(network(quarters).view(*pictures.shape[:-3], -1))


def make_step(student: nn.Module, teacher: nn.Module) -> Step:
    """This rank's slice of a step, mixed by this rank."""
    columns = {"index": mine(torch.arange(BATCH)), "epoch": mine(torch.zeros(BATCH, dtype=torch.int64))}
    images, plans = {}, {}
    for name, shape in SHAPES.items():
        everyone = torch.randn(
            BATCH, shape.crops, 3, shape.size, shape.size, generator=torch.Generator().manual_seed(5)
        )
        images[name] = mine(everyone).transpose(0, 1).contiguous()
    for name, source in (("mixed", "global"), ("mixed_local", "local")):
        options = PatchMixOptions(source=source, images=2, patch_size=2, ring=RING, probability=0.7)
        mix = PatchMix(options, Context(views=VIEWS, batch_size=BATCH, world_size=world()))

        def uniform(key: str, *shape: int, name: str = name) -> Tensor:
            return sample_uniform(3, columns["epoch"], columns["index"], f"{name}/{key}", shape)

        images[name], plans[name] = mix.mix(images[source], uniform)
    return Step(
        backbone=None,
        teacher_backbone=None,
        progress=Progress(0, 10, 10),
        seed=3,
        columns=columns,
        views=images,
        plans=plans,
        encode_student=lambda view: encoded(images, student, view),
        encode_teacher=lambda view: encoded(images, teacher, view),
    )


def trained() -> dict[str, Tensor]:
    """Losses, gradients of their sum and the mixed pictures, as data parallelism has them."""
    torch.manual_seed(0)
    student, teacher = nn.Linear(12, WIDTH), nn.Linear(12, WIDTH)
    context = Context(width=WIDTH, views=VIEWS, batch_size=BATCH, world_size=world())
    losses = nn.ModuleDict({name: SimilarityContrast(options, context) for name, options in LOSSES.items()})
    synchronise_batch_norm(losses)
    step = make_step(student, teacher)
    values = {name: loss(step) for name, loss in losses.items()}
    sum(values.values()).backward()
    learning = [*losses.named_parameters(), *student.named_parameters(prefix="student")]
    found = {key: all_mean(p.grad) for key, p in learning if p.grad is not None}
    found |= {f"{name}.loss": all_mean(value.detach()) for name, value in values.items()}
    for name in ("mixed", "mixed_local"):
        found[name] = gather(step.images(name).transpose(0, 1))
        found |= {f"{name}.{part}": gather(plan.transpose(0, 1)) for part, plan in step.plan(name).items()}
    return found


def worked() -> dict[str, Tensor]:
    """The worked example of two ranks of four rows: each rank's three losses, in rank order."""
    second = {name: second_half(torch.tensor(rows)) for name, rows in EXAMPLE.items()}
    rows = {name: mine(torch.cat([torch.tensor(rows), second[name]])) for name, rows in EXAMPLE.items()}
    count = len(rows["q"])
    unit = {name: nn.functional.normalize(value, dim=-1) for name, value in rows.items()}
    mixed = Parts(ring_partners(count, RING, 2, unit["q"].device) + rank() * count, torch.full((count, 2), 0.5))
    targets = {
        "oto": smooth(overlap(whole(count, unit["q"].device), None, BATCH), 0.1),
        "mto": overlap(mixed, None, BATCH),
        "mtm": overlap(mixed, mixed.of_all(), BATCH),
    }
    pairs = {"oto": ("q", "k"), "mto": ("mq", "k"), "mtm": ("mq", "mk")}
    return {f"worked.{name}": by_half(unit[q], gather(unit[k]), targets[name]) for name, (q, k) in pairs.items()}


EXAMPLE = {"q": Q, "k": K, "mq": MQ, "mk": MK}


def second_half(rows: Tensor) -> Tensor:
    """Other rows, made of the first."""
    return (rows * torch.tensor([1, -1, 1]) + torch.tensor([0, 0, 0.3])).flip(0)


def by_half(queries: Tensor, keys: Tensor, targets: Tensor) -> Tensor:
    """The loss of each four rows of all ranks, `[2]`."""
    terms = [soft_contrast(q, keys, t, 0.2) for q, t in zip(queries.split(4), targets.to(queries).split(4))]
    return gather(torch.stack(terms))


def main(number: int, processes: int, folder: Path) -> None:
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=processes)
    numbers = {key: value.detach() for key, value in (trained() | worked()).items()}
    if number == 0:
        torch.save(numbers, folder / f"{processes}.pt")
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # differences are then mistakes, not rounding
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
