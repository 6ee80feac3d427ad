"""Several processes on this machine, started as torchrun would, for the same command line.

`accelerate launch --cpu --num_processes 2 --num_machines 1` silently starts one process, so we start them ourselves.
Each child has a session of its own: a signal reaches it once, through the launcher, and not also from the terminal.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import MutableMapping, Sequence
from types import FrameType

from sslcli.errors import RunError
from sslcli.training.signals import PARENT, WATCHED, exit_code


def inside_a_launch() -> bool:
    """Whether this process was started as one of several (by us, torchrun or SLURM)."""
    return "LOCAL_RANK" in os.environ


def join_slurm(environment: MutableMapping[str, str]) -> None:
    """Inside `srun` with several tasks: say to PyTorch, in its own words, which of them this process is."""
    if "RANK" in environment or int(environment.get("SLURM_STEP_NUM_TASKS", 1)) == 1:
        return
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    environment["WORLD_SIZE"] = environment["SLURM_STEP_NUM_TASKS"]
    environment.setdefault("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
    environment.setdefault("MASTER_PORT", str(20000 + int(environment.get("SLURM_JOB_ID", 0)) % 10000))


def launch(arguments: Sequence[str], processes: int) -> int:
    """Run `python -m sslcli ARGUMENTS` in `processes` processes; the exit code of the first that failed, or 0.

    Raises RunError when a process was killed, unless we were asked to stop.
    """
    port = free_port()
    children: list[subprocess.Popen[bytes]] = []
    asked = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = number
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in WATCHED}
    try:
        for rank in range(processes):
            children.append(start(arguments, rank, processes, port))
        code = wait(children)
        if code < 0 and asked:  # before the child could listen
            return exit_code(asked)
        if code < 0:
            raise RunError(f"a process was killed by {signal.Signals(-code).name}", "is there enough memory for all?")
        return code
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def start(arguments: Sequence[str], rank: int, processes: int, port: int) -> "subprocess.Popen[bytes]":
    """One child; only the first one's stdout is shown."""
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(len(os.sched_getaffinity(0)) // processes, 1))),
        PARENT: str(os.getpid()),
    }
    stdout = None if rank == 0 else subprocess.DEVNULL
    command = [sys.executable, "-m", "sslcli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=stdout, start_new_session=True)


def wait(children: Sequence["subprocess.Popen[bytes]"], *, grace: float = 30.0) -> int:
    """The exit code of the first that failed, or 0, as `subprocess` has it: less than 0 for a signal.

    When one fails the others, which may wait for it for ever, are ended after a grace period.
    """
    failed, deadline = 0, float("inf")
    while any(child.poll() is None for child in children):
        codes = [child.returncode for child in children if child.returncode]
        if codes and not failed:
            failed, deadline = codes[0], time.monotonic() + grace
        if time.monotonic() > deadline:
            for child in children:
                child.kill()
        time.sleep(0.05)
    codes = [child.returncode for child in children if child.returncode]
    return failed or (codes[0] if codes else 0)


def free_port() -> int:
    """A port on this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
