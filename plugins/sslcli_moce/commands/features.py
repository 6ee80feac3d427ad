"""Features of all pictures of a source into files, by one process or several, going on where it was stopped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from sslcli.cli.output import talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from sslcli.data.source import Source
    from sslcli.evaluation.card import Card
    from sslcli.evaluation.subjects import Subject
    from sslcli.nn import Backbone
    from sslcli_moce.kept import Kept

Pool = Literal["auto", "cls", "mean"]


@dataclass(frozen=True)
class Share:
    """What one process does: every so many of the blocks that are missing, by a backbone that it opens anew."""

    run: str
    pool: Pool
    source: "Source"
    kept: "Kept"
    blocks: tuple[int, ...]
    rank: int
    processes: int


def open_dense(run: str, pool: Pool) -> "Subject":
    """The backbone that RUN names, which timm must be able to build again. Raises UserError."""
    from sslcli.evaluation.opening import open_subject

    subject = open_subject(run, pool, note=talk)
    backbone = getattr(subject.encoder, "backbone", None)
    if backbone is None:
        raise UserError(f"{run} is no backbone to keep beside the clusters", "name a run, a checkpoint or timm:NAME")
    if not backbone.timm_config():
        refuse(run, backbone)
    if pool == "mean" and not hasattr(backbone.exported, "num_prefix_tokens"):
        return open_subject(run, "auto")  # a network without tokens: its head may norm what it pools
    return subject


def refuse(run: str, backbone: "Backbone") -> None:
    """The error for a backbone that timm cannot build."""
    from sslcli.nn.experts import experts_in

    if any(True for _ in experts_in(backbone)):
        raise UserError(
            f"{run} is a mixture of experts, and clusters are found by a dense backbone",
            "name the run that it began with, or take a backbone out of it: sslcli moce select-expert",
        )
    raise UserError(
        f"timm cannot build the {type(backbone).__name__} of {run}, so it cannot be kept beside the clusters",
        "name a run with a ViT or ResNet of timm, or timm:NAME",
    )


def make_features(
    subject: "Subject", source: "Source", kept: "Kept", *, processes: int, made: Callable[[int], None]
) -> None:
    """Make the blocks that are missing; `made` is told now and then how many pictures of the next one are through."""
    missing = kept.missing()
    count = min(processes, len(missing))
    if count < 2:
        for _ in blocks_of(subject.encoder, subject.card, source, kept, missing, made):
            made(0)
        return
    from sslcli.evaluation.spread import by_processes

    pool = subject.made_by["pool"]
    talk(f"extracting features of {len(missing)} blocks of pictures by {count} processes")
    shares = [Share(subject.run, pool, source, kept, tuple(missing[rank::count]), rank, count) for rank in range(count)]
    by_processes(make_share, shares, meanwhile=lambda: made(0))


def make_share(share: Share) -> None:
    """One process's work."""
    from sslcli.evaluation.opening import open_subject
    from sslcli.evaluation.spread import take_share

    take_share(share.rank, share.processes)
    subject = open_subject(share.run, share.pool)
    for _ in blocks_of(subject.encoder, subject.card, share.source, share.kept, share.blocks):
        pass


def blocks_of(
    encoder: "nn.Module",
    card: "Card",
    source: "Source",
    kept: "Kept",
    blocks: Sequence[int],
    made: Callable[[int], None] = lambda pictures: None,
) -> Iterator[int]:
    """Make some blocks, and tell each that is written; one loader serves them all."""
    from sslcli.evaluation.features import BATCH, Pictures, best_device, encode, judging, load

    device, batch = best_device(), min(BATCH, kept.size)
    numbers = [number for block in blocks for number in kept.numbers(block)]
    with judging(encoder, device):
        batches: Iterator[Any] = load(Pictures(source, card, numbers), batch)
        for block in blocks:  # only the last of all may be short, so that batches never cross blocks
            table = encode(encoder, counted(islice(batches, kept.size // batch), made), card, device=device)
            kept.write(block, table.features, table.positions, table.broken)
            yield block


def counted(batches: Iterator[Any], made: Callable[[int], None]) -> Iterator[Any]:
    """The same batches; `made` is told how many pictures have come."""
    come = 0
    for batch in batches:
        yield batch
        come += len(batch[0]) + len(batch[2])  # crops, and what could not be read
        made(come)


def on_device(kept: "Kept") -> tuple["Kept", Any]:
    """The features with their device, and as they are gone through: all at once where a GPU holds them easily."""
    import torch

    from sslcli.evaluation.features import best_device

    device = best_device()
    if device.type != "cuda":
        return kept, kept
    there = replace(kept, device=device)
    size = sum(kept.file(block).stat().st_size for block in range(kept.blocks))
    return there, list(there) if size < torch.cuda.mem_get_info()[0] / 2 else there
