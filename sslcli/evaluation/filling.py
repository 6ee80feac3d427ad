"""Features of many pictures, block by block, by one process or several, going on where they were stopped."""

import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from torch import nn

from sslcli.data.source import Source
from sslcli.evaluation.blocks import Blocks
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import BATCH, SILENCE, Note, Pictures, best_device, encode, judging, load, told
from sslcli.evaluation.spread import by_processes, take_share
from sslcli.words import counted


@dataclass(frozen=True)
class Job:
    """Pictures, and the blocks that features of them go into."""

    source: Source
    blocks: Blocks


@dataclass(frozen=True)
class Share:
    """What one process does: every so many of the blocks that are missing, by its own copy of the encoder."""

    encoder: bytes
    card: Card
    work: tuple[tuple[Job, tuple[int, ...]], ...]
    rank: int
    processes: int


def fill(encoder: nn.Module, card: Card, jobs: Sequence[Job], *, processes: int = 1, note: Note) -> None:
    """Make the blocks that are missing. The same numbers come of one process and of several.

    `encoder` maps normalised images `[B, 3, S, S]` to `[B, D]`. Raises Unwritable where the disk is full.
    """
    for job in jobs:
        if there := job.blocks.there():
            note(f"features of {there} of {len(job.source)} pictures of {job.source.spec} are there already")
    wanted = [(job, block) for job in jobs for block in job.blocks.missing()]
    processes = min(processes, len(wanted))
    packed = packed_for_others(encoder, note) if processes > 1 else None
    if packed is None:
        for job in jobs:
            fill_blocks(encoder, card, job, job.blocks.missing(), note)
        return
    pictures = sum(len(job.blocks.numbers(block)) for job, block in wanted)
    note(f"extracting features of {counted(pictures, 'picture')} by {processes} processes")
    shares = [Share(packed, card, by_job(wanted[rank::processes]), rank, processes) for rank in range(processes)]
    by_processes(fill_share, shares, meanwhile=Watch(jobs, pictures, note).look)


def packed_for_others(encoder: nn.Module, note: Note) -> bytes | None:
    """An encoder as bytes, for shared memory may be small; None where it cannot be handed to other processes."""
    try:
        return pickle.dumps(encoder)
    except (pickle.PicklingError, AttributeError, TypeError) as failure:
        note(f"warning: one process does all, for the backbone cannot be handed to others: {failure}")
        return None


def by_job(wanted: Sequence[tuple[Job, int]]) -> tuple[tuple[Job, tuple[int, ...]], ...]:
    """Blocks with their job said once."""
    jobs = {id(job): job for job, _ in wanted}
    return tuple((job, tuple(block for other, block in wanted if other is job)) for job in jobs.values())


def fill_share(share: Share) -> None:
    """One process's work."""
    take_share(share.rank, share.processes)
    encoder = pickle.loads(share.encoder)
    for job, blocks in share.work:
        fill_blocks(encoder, share.card, job, blocks, lambda line: None)


def fill_blocks(encoder: nn.Module, card: Card, job: Job, blocks: Sequence[int], note: Note) -> None:
    """Make some blocks; one loader serves them all."""
    if not blocks:
        return
    kept, device = job.blocks, best_device()
    batch = min(BATCH, kept.size)
    numbers = [number for block in blocks for number in kept.numbers(block)]
    with judging(encoder, device):
        shown = load(Pictures(job.source, card, numbers), batch)
        batches = told(shown, f"of {counted(len(numbers), 'picture')} of {job.source.spec}", note)
        for block in blocks:  # only the last of all may be short, so that batches never cross blocks
            kept.write(block, encode(encoder, islice(batches, kept.size // batch), card, device=device))
        next(batches, None)  # there is none; `told` comes to its last line


class Watch:
    """Tells now and then how far several processes have come, by the blocks that they wrote."""

    def __init__(self, jobs: Sequence[Job], pictures: int, note: Note) -> None:
        self.jobs, self.pictures, self.note = jobs, pictures, note
        self.began = self.spoken = time.monotonic()
        self.before = self.there()

    def there(self) -> int:
        """The pictures whose features are written."""
        return sum(job.blocks.there() for job in self.jobs)

    def look(self) -> None:
        """Called about once a second."""
        now = time.monotonic()
        if now - self.spoken > SILENCE and (done := self.there() - self.before):
            self.spoken = now
            self.note(f"features of {done} of {self.pictures} pictures, {done / (now - self.began):.0f} a second")
