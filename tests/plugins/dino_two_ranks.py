"""`dino` and `ibot` on a whole batch, or on each of its halves: `python dino_two_ranks.py RANK WORLD FOLDER`.

Every number must not depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sslcli_dino.dino import SelfDistillation
from sslcli_dino.ibot import MaskedDistillation
from sslcli_dino.options import DinoOptions, IbotOptions
from torch import Tensor, nn

from sslcli.api import Progress, ViewShape
from sslcli.nn import Backbone, Step, all_mean, rank, world
from sslcli.testing.steps import make_backbone, make_context
from sslcli.training.building import with_backbone

VIEWS = {"global": ViewShape(2, 32), "local": ViewShape(2, 16)}
SMALL = {"prototypes": 5, "hidden": 8, "bottleneck": 4, "local_views": "local"}
BATCH = 8


def make_step(student: Backbone, teacher: Backbone, number: int) -> Step:
    """This rank's rows of step `number`."""
    torch.manual_seed(number)
    rows = torch.arange(BATCH).chunk(world())[rank()]
    images = {name: torch.randn(v.crops, BATCH, 3, v.size, v.size)[:, rows] for name, v in VIEWS.items()}

    def encode(network: Backbone, view: str):
        return network.features(images[view].flatten(0, 1)).unflatten(VIEWS[view].crops)

    return Step(
        backbone=student,
        teacher_backbone=teacher,
        progress=Progress(number, 10, 10),
        seed=0,
        columns={"index": rows + number * BATCH, "epoch": torch.zeros(len(rows), dtype=torch.int64)},
        views=images,
        encode_student=lambda view: encode(student, view),
        encode_teacher=lambda view: encode(teacher, view),
    )


def two_steps(name: str, loss: nn.Module, student: Backbone, teacher: Backbone) -> dict[str, Tensor]:
    """Losses and gradients as data parallelism has them, averaged over ranks, and what the loss remembers."""
    numbers = {}
    for count in range(2):
        loss.zero_grad()
        student.zero_grad()
        step = make_step(student, teacher, count)
        value = loss(step)
        value.backward()
        loss.after_step(step)
        numbers[f"{name}.{count}.loss"] = all_mean(value)
        learning = [*loss.named_parameters(), *student.named_parameters(prefix="student")]
        numbers |= {f"{name}.{count}.{key}": all_mean(p.grad) for key, p in learning if p.grad is not None}
        numbers |= {f"{name}.{count}.{key}": buffer.clone() for key, buffer in loss.named_buffers()}
    return numbers


def main(number: int, processes: int, folder: Path) -> None:
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=processes)
    numbers = {}
    for name, code, options in (
        ("dino", SelfDistillation, DinoOptions(**SMALL)),
        ("ibot", MaskedDistillation, IbotOptions(**SMALL, shared_head=False, mask_probability=0.8)),
    ):
        context = make_context(VIEWS)
        student, teacher = make_backbone(context), make_backbone(context, seed=1)
        numbers |= two_steps(name, code(options, with_backbone(context, student)), student, teacher)
    if number == 0:
        torch.save({key: value.detach() for key, value in numbers.items()}, folder / f"{processes}.pt")
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # differences are then mistakes, not rounding
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
