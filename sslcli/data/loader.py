"""The loader: micro-batches of a plan, made by worker processes that live as long as the run."""

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from sslcli.api import ViewShape
from sslcli.data.augmentation import ViewAugmentation
from sslcli.data.batch import Batch
from sslcli.data.masks import Masks
from sslcli.data.sampler import BatchPlan, Position
from sslcli.data.source import Source
from sslcli.data.views import ViewReader
from sslcli.errors import RunError, SslcliError
from sslcli.recipe.tables import Data

FOR_THE_MAIN_PROCESS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
MOST_WORKERS = 16  # for one process, when the number is chosen automatically
DIED = "a loader worker was killed, most likely because memory ran out"
DIED_HINT = "use fewer workers (data.workers), a smaller data.prefetch, or more shared memory (docker: --shm-size)"


class Loader:
    """Batches of one process. Sharding and order are the plan's; nothing of it is handed to Accelerate."""

    def __init__(
        self,
        source: Source,
        views: Mapping[str, ViewAugmentation],
        shapes: Mapping[str, ViewShape],
        plan: BatchPlan,
        *,
        seed: int,
        data: Data,
        masks: Masks | None = None,
        pin: bool = False,
    ) -> None:
        self.plan, self.data, self.pin = plan, data, pin
        self.workers = workers_of(data.workers, plan.world_size, accelerator=pin)
        keep = data.cache_megabytes / max(self.workers, 1) if data.cache else 0.0
        self.reader = ViewReader(source, views, shapes, seed=seed, masks=masks, keep_megabytes=keep)

    def batches(self, first_step: int, last_step: int) -> Iterator[Batch]:
        """The micro-batches of the steps from `first_step` up to, and without, `last_step`, `accumulation` a step.

        Workers start here and end with the iterator, so one call should serve the whole run.
        What was broken is in `Batch.broken`, for a BrokenCount to judge. Raises RunError when a worker dies.
        """
        with signals_held():
            arriving = iter(self.open(Steps(self.plan, first_step, last_step)))
        at_exit = atexit.register(partial(end_workers, arriving))  # if this generator is still waiting then
        try:
            for batch in arriving:
                yield whole(batch)
        except (RuntimeError, OSError, EOFError) as error:
            if not has_lost_worker(arriving):
                raise
            raise RunError(DIED, DIED_HINT) from error
        finally:
            atexit.unregister(at_exit)
            end_workers(arriving)

    def open(self, steps: "Steps") -> "DataLoader[Any]":
        """PyTorch's loader over some steps."""
        return DataLoader(
            self.reader,
            batch_sampler=steps,
            num_workers=self.workers,
            prefetch_factor=self.data.prefetch if self.workers else None,
            collate_fn=as_is,
            worker_init_fn=ignore_signals,
            pin_memory=self.pin,
            generator=torch.Generator(),  # the global one stays as it is: a resumed run must not differ
        )


class Steps:
    """The micro-batches of some steps of a plan, for PyTorch to hand to its workers."""

    def __init__(self, plan: BatchPlan, first: int, last: int) -> None:
        self.plan, self.first, self.last = plan, first, last

    def __iter__(self) -> Iterator[list[Position]]:
        return self.plan.micro_batches(self.first, self.last)


def whole(batch: Batch | SslcliError) -> Batch:
    """A batch as it is; an error that a worker met is raised here."""
    if isinstance(batch, SslcliError):
        raise batch
    return batch


def as_is(batch: Any) -> Any:
    """The reader has collated already."""
    return batch


def in_order(
    samples: "Dataset[Any]", batch_size: int, collate: Callable[[Any], Any], *, workers: int | Literal["auto"] = "auto"
) -> Iterator[Any]:
    """Batches of all samples from the first to the last, once, made by as many workers as training would have."""
    accelerator = torch.cuda.is_available()
    wanted = workers_of(workers, world_size=1, accelerator=accelerator)
    loader = DataLoader(
        samples,
        batch_size,
        collate_fn=collate,
        num_workers=min(wanted, len(samples) // batch_size),  # type: ignore[arg-type]  # they all have a length
        worker_init_fn=ignore_signals,
        pin_memory=accelerator,
        generator=torch.Generator(),  # the global one stays as it is: a probe must not change a training run
    )
    return served(loader)


def ignore_signals(worker: int) -> None:
    """Only the main process decides what a signal means: a worker that dies of it would take the last step along."""
    for number in FOR_THE_MAIN_PROCESS:
        signal.signal(number, signal.SIG_IGN)


def has_lost_worker(arriving: Iterator[Any]) -> bool:
    """Whether a worker has died; the main process learns of it from PyTorch, or from a connection that is cut."""
    if not isinstance(arriving, _MultiProcessingDataLoaderIter):
        return False
    ended = wait([worker.sentinel for worker in arriving._workers], timeout=1.0)
    gone = [worker for worker in arriving._workers if worker.sentinel in ended]
    for worker in gone:
        worker.join(timeout=5.0)  # its files are closed a moment before it can be asked how it ended
    return any(worker.exitcode for worker in gone)


def end_workers(arriving: Iterator[Any]) -> None:
    """Stop the workers of PyTorch's iterator; left to it, they wait for ever, deaf to the SIGTERM that it sends."""
    if isinstance(arriving, _MultiProcessingDataLoaderIter):
        arriving._shutdown_workers()
        for worker in arriving._workers:
            if worker.is_alive():
                worker.kill()


def served(loader: "DataLoader[Any]") -> Iterator[Any]:
    """What a loader that goes once through its data gives. Its workers end with it; RunError when one of them dies."""
    with signals_held():
        arriving = iter(loader)
    try:
        yield from arriving
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(DIED, DIED_HINT) from error
    finally:
        end_workers(arriving)


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals wait while workers start, so that none reaches a worker before it ignores them.

    PyTorch's handler of SIGCHLD is taken off again: it would raise in the middle of a training step, wherever that is.
    A worker's death is noticed all the same, when the next batch is fetched.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_MAIN_PROCESS)
    child_handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, child_handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def workers_of(wanted: int | Literal["auto"], world_size: int, *, accelerator: bool) -> int:
    """The number of worker processes, chosen by this process's share of the cores when it is `"auto"`."""
    if wanted != "auto":
        return wanted
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    return automatic_workers(available_cores() // max(processes, 1), accelerator=accelerator)


def available_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def automatic_workers(cores: int, *, accelerator: bool) -> int:
    """One worker a core, but for the one that feeds the accelerator; without one, training needs the cores itself."""
    return min(max(cores - 1, 1), MOST_WORKERS) if accelerator else min(cores // 4, MOST_WORKERS)
