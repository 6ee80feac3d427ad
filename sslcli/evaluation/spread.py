"""Features by several processes, each of its own slice of the pictures."""

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from sslcli.data.source import Source
from sslcli.errors import RunError
from sslcli.evaluation.encoders import Pool
from sslcli.evaluation.features import Table, extract
from sslcli.evaluation.opening import open_subject


@dataclass(frozen=True)
class Slice:
    """What one process does: which backbone, which it opens anew, on every so many pictures of which sources."""

    run: str
    pool: Pool
    sources: tuple[Source, ...]
    rank: int
    processes: int


def extract_in_processes(run: str, pool: Pool, sources: Sequence[Source], *, processes: int) -> list[Table]:
    """The same table for each source as `extract` gives in one process."""
    slices = [Slice(run, pool, tuple(sources), rank, processes) for rank in range(processes)]
    try:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as workers:
            found = list(workers.map(extract_slice, slices))
    except BrokenProcessPool as death:
        raise RunError(
            "a process that extracts features was killed, most likely because memory ran out",
            "use fewer processes",
        ) from death
    return [Table.join(tables) for tables in zip(*found)]


def extract_slice(part: Slice) -> list[Table]:
    """One process's work: on its own GPU where there are several, on its share of the cores where there is none."""
    if torch.cuda.is_available():
        torch.cuda.set_device(part.rank % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(torch.get_num_threads() // part.processes, 1))
    subject = open_subject(part.run, part.pool)
    numbers = [range(part.rank, len(source), part.processes) for source in part.sources]
    return [extract(subject.encoder, source, subject.card, indices=mine) for source, mine in zip(part.sources, numbers)]
