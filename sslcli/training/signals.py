"""Stopping on request: the first signal asks, the second one exits at once."""

import os
import signal
from types import FrameType

import torch

from sslcli.errors import INTERRUPTED, PREEMPTED, SslcliError

WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PARENT = "SSLCLI_PARENT"  # process id of the launcher, when there is one


class Stopped(SslcliError):
    """The run was asked to stop, and has been saved."""

    def __init__(self, number: int, folder: str, step: int) -> None:
        name = signal.Signals(number).name
        super().__init__(
            f"stopped by {name} after step {step}; saved", f"go on with: sslcli pretrain --resume {folder}"
        )
        self.exit_code = INTERRUPTED if number == signal.SIGINT else PREEMPTED


class StopRequest:
    """Listens for signals from construction to `close`."""

    def __init__(self) -> None:
        self.number = 0
        self.previous = {number: signal.signal(number, self.receive) for number in WATCHED}
        self.parent = int(os.environ.get(PARENT, 0))

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal; leave at the second."""
        if self.number:
            os._exit(INTERRUPTED if number == signal.SIGINT else PREEMPTED)
        self.number = number

    def close(self) -> None:
        """Put the former handlers back."""
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def agreed(self, device: torch.device) -> int:
        """The signal to stop for after this step, the same on all processes; 0 to go on."""
        if self.parent and os.getppid() != self.parent:
            os._exit(PREEMPTED)  # the launcher was killed
        if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return self.number
        highest = torch.tensor(self.number, device=device)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
        return int(highest)
