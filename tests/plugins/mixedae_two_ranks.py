"""Mixing and both losses on a whole batch, or on each of its halves: `python mixedae_two_ranks.py RANK WORLD FOLDER`.

Every number must not depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sslcli_mixedae.contrast import HomologousContrast
from sslcli_mixedae.mixing import ComposeMixing
from sslcli_mixedae.options import ComposeOptions, ContrastOptions, ReconstructionOptions
from sslcli_mixedae.reconstruction import MixedReconstruction
from torch import Tensor

from sslcli.api import ViewShape
from sslcli.nn import all_mean, gather, rank, world
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

BATCH = 16
VIEWS = {"global": ViewShape(2, 32), "mixed": ViewShape(2, 32, joined=4)}


def numbers() -> dict[str, Tensor]:
    """Labels of all groups; losses and gradients as data parallelism has them, averaged over ranks."""
    rows = torch.arange(BATCH).chunk(world())[rank()]
    backbone = make_backbone(make_context(VIEWS))
    shape = with_backbone(make_context(VIEWS), backbone)
    step = make_step(VIEWS, backbone=backbone, columns={"index": rows, "epoch": torch.ones_like(rows)})
    images = torch.randn(2, BATCH, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[:, rows]
    mixed, plan = ComposeMixing(ComposeOptions(source="global"), shape).mix(images, step.uniform)
    step.views, step.plans = {"global": images, "mixed": mixed}, {"mixed": plan}
    torch.manual_seed(0)
    small = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    losses = MixedReconstruction(ReconstructionOptions(**small), shape), HomologousContrast(ContrastOptions(), shape)
    value = losses[0](step) + 0.1 * losses[1](step)
    value.backward()
    learning = [*backbone.named_parameters(), *losses[0].named_parameters()]
    gradients = {name: all_mean(p.grad) for name, p in learning if p.grad is not None}
    accuracy = all_mean(step.logs["sampling_accuracy"].double())
    segments = gradients["encoder.segments"]
    labels = gather(plan["labels"].transpose(0, 1))
    return {"loss": all_mean(value), "labels": labels, "segments": segments, "sampling_accuracy": accuracy, **gradients}


def main(number: int, processes: int, folder: Path) -> None:
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=processes)
    found = {name: value.detach() for name, value in numbers().items()}
    if number == 0:
        torch.save(found, folder / f"{processes}.pt")
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # differences are then mistakes, not rounding
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
