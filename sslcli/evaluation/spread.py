"""Work by several processes, each on its own share."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Thread
from typing import Any, TypeVar

import torch

from sslcli.data.loader import ignore_signals
from sslcli.errors import RunError

Part = TypeVar("Part")
Made = TypeVar("Made")


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


def take_share(rank: int, processes: int) -> None:
    """A process works on its own GPU where there are several, and on its share of the cores, as do its loaders."""
    os.environ["LOCAL_WORLD_SIZE"] = str(processes)  # what `workers_of` asks
    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())
    else:
        torch.set_num_threads(max(torch.get_num_threads() // processes, 1))
