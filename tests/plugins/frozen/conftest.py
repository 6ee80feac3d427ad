"""What the tests of frozen evaluations share: a cache of their own, and trials on tiny pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslcli.evaluation.trial import Sets, Trial

MakeTrial = Callable[..., Trial]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_trial(tiny_recipe: Callable[..., Path], picture_folder: Path) -> MakeTrial:
    """`make_trial()`: a ViT of two blocks at its random start; `make_trial("pixels")`; other tables of the recipe."""

    def make(run: str = "", *, pool: str = "auto", note: Callable[[str], None] = lambda line: None, **tables) -> Trial:
        return Trial(run or f"random:{tiny_recipe(**tables)}", (Sets(str(picture_folder)),), pool=pool, note=note)

    return make


@pytest.fixture
def clouds() -> Callable[[int, int], tuple[Tensor, Tensor]]:
    """`clouds(samples, seed)`: features `[N, 8]` of four classes that overlap a little, and their labels."""

    def make(samples: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(samples) % 4
        middles = 1.5 * torch.randn(4, 8, generator=torch.Generator().manual_seed(99))
        return middles[labels] + torch.randn(samples, 8, generator=generator), labels

    return make
