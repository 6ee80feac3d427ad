"""What the tests of runs share."""

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor


@pytest.fixture
def bit_equal() -> Callable[[Path, Path], None]:
    """`bit_equal(run, run)`: every tensor of two finished runs is the same to the last bit."""

    def check(one: Path, other: Path) -> None:
        first, second = final_tensors(one), final_tensors(other)
        assert first.keys() == second.keys()
        assert [name for name in first if not first[name].equal(second[name])] == []

    return check


@pytest.fixture
def nearly_equal() -> Callable[..., None]:
    """`nearly_equal(run, run, atol=…)`: every tensor is the same to `atol` or to 1e-4 of its largest number."""

    def check(one: Path, other: Path, *, atol: float) -> None:
        first, second = final_tensors(one), final_tensors(other)
        assert first.keys() == second.keys()
        gaps = {name: (first[name] - second[name]).abs().max().item() for name in first}
        allowed = {name: atol + 1e-4 * first[name].abs().max().item() for name in first}
        assert {name: gap for name, gap in gaps.items() if gap > allowed[name]} == {}

    return check


def final_tensors(run: Path) -> dict[str, Tensor]:
    """Model, optimizer and backbone of a finished run, by file and name."""
    newest = max((run / "checkpoints").glob("step-*"))
    files = [newest / "model.safetensors", newest / "optimizer.safetensors", run / "backbone.safetensors"]
    return {f"{path.name}:{name}": tensor for path in files for name, tensor in load_file(path).items()}
