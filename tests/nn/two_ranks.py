"""What one process computes of a whole batch, or each of two of its half: `python two_ranks.py RANK WORLD FOLDER`.

Every function returns numbers that must not depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from sslcli_moco_v3.loss import MomentumContrast
from sslcli_moco_v3.options import MomentumContrastOptions
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.nn import (
    Centre,
    Features,
    Queue,
    Step,
    all_mean,
    gather,
    gather_with_gradient,
    info_nce,
    log_prototypes,
    mlp_head,
    nt_xent,
    queue_contrast,
    rank,
    world,
)
from sslcli.nn.batchnorm import synchronise_batch_norm

Numbers = dict[str, Tensor]


def mine(whole: Tensor) -> Tensor:
    """This rank's half of the rows, or all of them."""
    return whole.chunk(world())[rank()]


def gradients(module: nn.Module, loss: Tensor, prefix: str) -> Numbers:
    """The loss and its gradients as data parallelism has them: averaged over ranks."""
    loss.backward()
    averaged = {f"{prefix}.{name}": all_mean(p.grad) for name, p in module.named_parameters() if p.grad is not None}
    return {f"{prefix}.loss": all_mean(loss), **averaged}


def gathering() -> Numbers:
    torch.manual_seed(1)
    rows, flags = torch.randn(8, 3), torch.arange(8) % 3 == 0
    transposed = gather(mine(rows).T.contiguous().T)
    return {
        "gather": gather(mine(rows)),
        "flags": gather(mine(flags)),
        "strided": transposed,
        "mean": all_mean(mine(rows).mean(0)),
    }


def gathering_with_gradient() -> Numbers:
    torch.manual_seed(2)
    rows, layer = torch.randn(8, 3), nn.Linear(3, 4)
    features = layer(mine(rows))
    return gradients(layer, (features @ gather_with_gradient(features).T).logsumexp(1).mean(), "gathered")


def batch_norm_of_rows() -> Numbers:
    torch.manual_seed(3)
    rows, weights = torch.randn(8, 3) * 3 + 5, torch.randn(8, 4)
    network = synchronise_batch_norm(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    output = network(mine(rows))
    numbers = gradients(network, (output * mine(weights)).sum(1).square().mean(), "rows")
    return {"rows.output": gather(output), **numbers, **{f"rows.{n}": b.clone() for n, b in network.named_buffers()}}


def batch_norm_of_images() -> Numbers:
    torch.manual_seed(4)
    images = torch.randn(4, 3, 5, 5) + 2
    network = synchronise_batch_norm(
        nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4), nn.BatchNorm2d(4, momentum=None))
    )
    output = network(mine(images))
    numbers = gradients(network, output.square().flatten(1).logsumexp(1).mean(), "images")
    remembered = {f"images.{n}": b.clone() for n, b in network.named_buffers()}
    judged = gather(network.eval()(mine(images)).detach())
    return {"images.output": gather(output), "images.eval": judged, **numbers, **remembered}


def momentum_contrast() -> Numbers:
    torch.manual_seed(5)
    first, second = torch.randn(2, 8, 6)
    head = synchronise_batch_norm(mlp_head(6, 8, 4, 3))
    return gradients(head, info_nce(head(mine(first)), head(mine(second)), 0.2), "info_nce")


def simple_contrast() -> Numbers:
    torch.manual_seed(6)
    crops = torch.randn(8, 3, 6)
    head = synchronise_batch_norm(mlp_head(6, 8, 4, 2))
    own = mine(crops).transpose(0, 1)
    return gradients(head, nt_xent(head(own.flatten(0, 1)).unflatten(0, own.shape[:2]), 0.2), "nt_xent")


def held(queue: Queue, prefix: str) -> Numbers:
    """What a queue holds, and by how much the ranks differ in it, which must be nothing at all."""
    parts = queue.state_dict()
    apart = {f"{name}.apart": (gather(part[None]) - part).abs().max() for name, part in parts.items()}
    return {f"queue.{prefix}.{name}": part.clone() for name, part in (parts | apart).items()}


def queue_of_all_ranks() -> Numbers:
    """Eleven places, four rows a push: over the end, over all of it, and one crop after the other."""
    torch.manual_seed(7)
    queue, crops, owners = Queue(11, 3, unit=True), torch.randn(8, 4, 3), torch.arange(32).view(8, 4)
    for rows, numbers in zip(crops[:5], owners):
        queue.push(mine(rows), mine(numbers))
    numbers = held(queue, "plain")
    for rows, samples in zip(crops[5:7].transpose(0, 1).chunk(2), owners[5:7].T.chunk(2)):
        for crop in range(2):
            queue.push(mine(rows[:, crop]), mine(samples[:, crop]))
    return {**numbers, **held(queue, "crops")}


def queue_of_kept_rows() -> Numbers:
    """One rank keeps all of its rows and the other none, then the other way round, then neither any."""
    torch.manual_seed(8)
    queue, rows, numbers = Queue(7, 3), torch.randn(4, 4, 3), {}
    for step, flags in enumerate(([1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0])):
        queue.push(mine(rows[step]), mine(torch.arange(4) + 10 * step), mine(torch.tensor(flags)))
        numbers |= held(queue, f"kept.{step}")
    return numbers


def contrast_with_a_queue() -> Numbers:
    torch.manual_seed(9)
    crops, head, queue = torch.randn(8, 3, 6), nn.Linear(6, 4), Queue(20, 4, unit=True)
    rows = nn.functional.normalize(head(mine(crops)), dim=-1).transpose(0, 1)
    pairs = queue_contrast(rows, rows[:2].roll(1, 2), queue.rows, 0.2)
    return {
        "queue_contrast.pairs": all_mean(pairs),
        **gradients(head, (pairs * torch.rand(2, 3)).sum(), "queue_contrast"),
    }


def moving_centre() -> Numbers:
    torch.manual_seed(10)
    centre, logits = Centre(5), torch.randn(3, 2, 8, 5)  # steps, crops, images
    for step in logits:
        centre.update(mine(step.transpose(0, 1)).transpose(0, 1))
    return {"centre": centre.mean, "centre.apart": (gather(centre.mean[None]) - centre.mean).abs().max()}


def entropies_of_prototypes() -> Numbers:
    torch.manual_seed(11)
    shares = torch.randn(8, 2, 5).mul(3).softmax(-1)
    step = make_step(shares, shares)
    log_prototypes(step, mine(shares).transpose(0, 1))
    return {f"prototypes{name}": all_mean(value) for name, value in step.logs.items()}


def make_step(student: Tensor, teacher: Tensor, owners: Tensor | None = None) -> Step:
    """A step whose pooled vectors `[B, crops, D]` are given."""

    def encode(pooled: Tensor) -> Features:
        crops = mine(pooled).transpose(0, 1)
        return Features(crops[..., None, :], crops[..., None, :], 1, crops)

    return Step(
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        Progress(0, 1, 1),
        0,
        {} if owners is None else {"index": mine(owners)},
        {},
        encode_student=lambda view: encode(student),
        encode_teacher=lambda view: encode(teacher),
    )


def momentum_contrast_with_a_queue() -> Numbers:
    """Three steps of the plugin: the third has keys of the first two below the line."""
    torch.manual_seed(12)
    context = Context(width=6, views={"global": ViewShape(2, 8)}, batch_size=8, samples=100)
    loss = synchronise_batch_norm(MomentumContrast(MomentumContrastOptions(hidden=8, output=4, queue=40), context))
    numbers: Numbers = {}
    for number, (student, teacher) in enumerate(torch.randn(3, 2, 8, 2, 6)):
        loss.zero_grad()
        step = make_step(student, teacher, torch.arange(8) + 8 * number)
        numbers |= gradients(loss, loss(step), f"moco_v3.{number}")
        loss.after_step(step)
    return {**numbers, **{f"moco_v3.{name}": part for name, part in loss.queue.state_dict().items()}}


def main(number: int, processes: int, folder: Path) -> None:
    if processes > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=processes)
    parts = (
        gathering,
        gathering_with_gradient,
        batch_norm_of_rows,
        batch_norm_of_images,
        momentum_contrast,
        simple_contrast,
        queue_of_all_ranks,
        queue_of_kept_rows,
        contrast_with_a_queue,
        moving_centre,
        entropies_of_prototypes,
        momentum_contrast_with_a_queue,
    )
    numbers = {name: value.detach() for part in parts for name, value in part().items()}
    if number == 0:
        torch.save(numbers, folder / f"{processes}.pt")
    if processes > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # differences are then mistakes, not rounding
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
