"""What one process computes of a whole batch, or each of two of its half: `python two_ranks.py RANK WORLD FOLDER`.

Every function returns numbers that must not depend on the number of processes; rank 0 saves them.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from sslcli.nn import all_mean, gather, gather_with_gradient, info_nce, mlp_head, nt_xent, rank, world
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
