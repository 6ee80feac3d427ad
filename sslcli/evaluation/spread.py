"""Features by several processes, each of its own slice of the pictures."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

import torch

from sslcli.data.loader import ignore_signals
from sslcli.data.source import Source
from sslcli.errors import RunError
from sslcli.evaluation.features import Table, extract
from sslcli.evaluation.opening import open_subject
from sslcli.nn.encoders import Pool

Part = TypeVar("Part")
Made = TypeVar("Made")


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
    found = by_processes(
        extract_slice, [Slice(run, pool, tuple(sources), rank, processes) for rank in range(processes)]
    )
    return [Table.join(tables) for tables in zip(*found)]


def by_processes(
    work: Callable[[Part], Made], parts: Sequence[Part], *, meanwhile: Callable[[], None] = lambda: None
) -> list[Made]:
    """What `work` makes of each part, in a process for each; `meanwhile` is called about once a second.

    However it ends, no process is left, nor when this one is killed. Raises RunError when one of them is killed.
    """
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(len(parts), context, initializer=depend) as workers:
            try:
                return gathered([workers.submit(work, part) for part in parts], meanwhile)
            except BaseException:
                for child in set(multiprocessing.active_children()) - others:
                    child.kill()  # what they still do is for nobody
                raise
    except BrokenProcessPool as death:
        raise RunError(
            "a process that extracts features was killed, most likely because memory ran out",
            "use fewer processes",
        ) from death


def depend() -> None:
    """A process that lives and ends with the one that began it; what a signal means is decided there."""
    ignore_signals(0)
    Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the end of the process that began this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def gathered(futures: "Sequence[Future[Any]]", meanwhile: Callable[[], None]) -> list[Any]:
    """All results, in order; the first failure is raised at once."""
    waiting: Any = futures
    while waiting:
        done, waiting = wait(waiting, timeout=1.0, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        meanwhile()
    return [future.result() for future in futures]


def extract_slice(part: Slice) -> list[Table]:
    """One process's work."""
    take_share(part.rank, part.processes)
    subject = open_subject(part.run, part.pool)
    numbers = [range(part.rank, len(source), part.processes) for source in part.sources]
    return [extract(subject.encoder, source, subject.card, indices=mine) for source, mine in zip(part.sources, numbers)]


def take_share(rank: int, processes: int) -> None:
    """A process works on its own GPU where there are several, on its share of the cores where there is none."""
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(torch.get_num_threads() // processes, 1))
