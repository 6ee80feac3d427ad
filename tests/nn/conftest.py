"""One process against two, run once for all tests that compare them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
def ranks(tmp_path_factory: pytest.TempPathFactory, run_ranks: Callable[..., Any]) -> Ranks:
    """Three processes on the loopback device: one alone, and two together."""
    return Ranks(*run_ranks(SCRIPT, tmp_path_factory.mktemp("ranks")))
