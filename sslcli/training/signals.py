"""Stopping on request: the first signal asks, the second one exits at once."""

import os
import signal
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from sslcli.errors import INTERRUPTED, PREEMPTED, SslcliError
from sslcli.nn import world
from sslcli.training.processes import PATIENCE

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PARENT = "SSLCLI_PARENT"  # process id of the launcher, when there is one


def exit_code(number: int) -> int:
    """What a process that a signal stopped says to its scheduler."""
    return INTERRUPTED if number == signal.SIGINT else PREEMPTED


class Stopped(SslcliError):
    """The run was asked to stop, and has been saved."""

    def __init__(self, number: int, folder: str, step: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"stopped by {name} after step {step}; saved", f"go on with: sslcli pretrain --resume {folder}"
        )
        self.exit_code = exit_code(number)


class StopRequest:
    """Listens for signals while its `with` block runs, from before the data is opened until the backbone is written."""

    def __init__(self) -> None:
        self.number = 0
        self.parent = int(os.environ.get(PARENT, 0))
        self.group: Any = None  # of torch.distributed, made when there are others to agree with

    def __enter__(self) -> "StopRequest":
        self.previous = {number: signal.signal(number, self.receive) for number in WATCHED}
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; leave at the second."""
        if self.number:
            os._exit(exit_code(number))
        self.number = number

    def agreed(self) -> int:
        """The signal to stop for after this step, the same on all processes; 0 to go on.

        The processes agree on the CPU, so that no step waits for what the GPU has still to do.
        """
        if self.parent and os.getppid() != self.parent:
            os._exit(PREEMPTED)  # the launcher was killed
        if world() == 1:
            return self.number
        if self.group is None:
            self.group = dist.new_group(backend="gloo", timeout=PATIENCE)
        highest = torch.tensor(self.number)
        dist.all_reduce(highest, dist.ReduceOp.MAX, group=self.group)
        return int(highest)
