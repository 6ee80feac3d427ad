"""One process against two, run once for all tests that compare them."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

SCRIPT = Path(__file__).with_name("two_ranks.py")


@dataclass(frozen=True)
class Ranks:
    """What one process computed of the whole batch, and what two computed of its halves."""

    one: dict[str, Tensor]
    two: dict[str, Tensor]

    def agree(self, prefix: str) -> None:
        """All numbers whose names begin so are the same."""
        names = [name for name in self.one if name.startswith(prefix)]
        assert names
        assert self.one.keys() == self.two.keys()
        for name in names:
            torch.testing.assert_close(
                self.two[name], self.one[name], rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Ranks:
    """Three processes on the loopback device: one alone, and two together."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    runs = [(rank, world) for world in (1, 2) for rank in range(world)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(world), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, world in runs
    ]
    try:
        for process in reversed(processes):
            _, complaint = process.communicate(timeout=120)
            assert process.returncode == 0, complaint
    finally:
        for process in processes:
            process.kill()  # one that waits for another that failed
    return Ranks(torch.load(folder / "1.pt"), torch.load(folder / "2.pt"))
