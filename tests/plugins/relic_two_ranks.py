"""`relicv2`, `relic` and `byol` on a whole batch, or on its halves: `python relic_two_ranks.py RANK WORLD FOLDER`.

Every number must not depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sslcli_byol.loss import Bootstrap
from sslcli_byol.options import BootstrapOptions
from sslcli_relic.loss import Relic, Relicv2
from sslcli_relic.options import RelicOptions, Relicv2Options
from torch import Tensor, nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.nn import Features, Step, all_mean, rank, world
from sslcli.nn.batchnorm import synchronise_batch_norm

VIEWS = {"global": ViewShape(2, 32), "local": ViewShape(1, 16)}
HEADS = {"hidden": 8, "output": 4}
BATCH, WIDTH = 8, 6
LOSSES = {
    "k2": (Relicv2, Relicv2Options(local_views="local", negatives=3, **HEADS)),
    "k1": (Relicv2, Relicv2Options(local_views="local", negatives=3, invariance="k1", **HEADS)),
    "all": (Relicv2, Relicv2Options(negatives="all", stop_gradient="none", same_crop=False, **HEADS)),
    "relic": (Relic, RelicOptions(**HEADS)),
    "byol": (Bootstrap, BootstrapOptions(local_views="local", **HEADS)),
}


def group(pooled: Tensor) -> Features:
    """Features whose pooled vectors are given."""
    return Features(pooled[..., None, :], pooled[..., None, :], 1, pooled)


def make_step(student: nn.Module) -> Step:
    """This rank's rows of a step: the student is a linear layer over given vectors, which are the teacher's."""
    rows = torch.arange(BATCH).chunk(world())[rank()]
    torch.manual_seed(5)
    vectors = {name: torch.randn(shape.crops, BATCH, WIDTH)[:, rows] for name, shape in VIEWS.items()}
    return Step(
        backbone=None,
        teacher_backbone=None,
        progress=Progress(0, 10, 10),
        seed=0,
        columns={"index": rows, "epoch": torch.zeros(len(rows), dtype=torch.int64)},
        views={},
        encode_student=lambda view: group(student(vectors[view])),
        encode_teacher=lambda view: group(vectors[view]),
    )


def numbers_of(name: str) -> dict[str, Tensor]:
    """Loss and gradients as data parallelism has them, averaged over ranks."""
    code, options = LOSSES[name]
    torch.manual_seed(0)
    student = nn.Linear(WIDTH, WIDTH)
    loss = code(options, Context(width=WIDTH, views=VIEWS, batch_size=BATCH))
    synchronise_batch_norm(loss)
    value = loss(make_step(student))
    value.backward()
    learning = [*loss.named_parameters(), *student.named_parameters(prefix="student")]
    gradients = {f"{name}.{key}": all_mean(p.grad) for key, p in learning if p.grad is not None}
    return {f"{name}.loss": all_mean(value), **gradients}


def main(number: int, processes: int, folder: Path) -> None:
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=processes)
    numbers = {key: value.detach() for name in LOSSES for key, value in numbers_of(name).items()}
    if number == 0:
        torch.save(numbers, folder / f"{processes}.pt")
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # differences are then mistakes, not rounding
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
