"""What the main process does while the others wait, so that none waits for one that has given up."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from sslcli.errors import RunError, SslcliError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)  # of processes that wait while the main one probes or saves


def on_main(accelerator: Accelerator, work: Callable[[], T]) -> T | None:
    """What `work` returns, on the main process; None on the others. What it raises there is raised by all."""
    if accelerator.num_processes == 1:
        return work()
    result, failure = attempt(work) if accelerator.is_main_process else (None, None)
    told: list[Any] = [failure if isinstance(failure, SslcliError | None) else RunError(f"process 0: {failure!r}")]
    broadcast_object_list(told)
    if failure is not None:
        raise failure
    if told[0] is not None:
        told[0].told = True
        raise told[0]
    return result


def attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What `work` returns, or what it raises."""
    try:
        return work(), None
    except Exception as failure:
        return None, failure
