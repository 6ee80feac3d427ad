"""Checkpoints survive what a disk and a kill can do to them."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from sslcli.errors import RunError, UserError
from sslcli.training import checkpoint
from sslcli.training.checkpoint import Checkpoints, Saved, optimizer_tensors, restore_optimizer


def saved(number: float) -> Saved:
    return Saved({"w": torch.full((3,), number)}, {"w//m": torch.zeros(3)}, {"step": int(number)})


def newest_step(run: Path) -> int | None:
    found = Checkpoints(run, keep=3).newest(lambda text: None)
    return None if found is None else found.state["step"]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    Checkpoints(tmp_path, keep=3).save(7, saved(7))
    found = Checkpoints(tmp_path, keep=3).newest(lambda text: None)
    assert found is not None
    assert found.model["w"].tolist() == [7.0, 7.0, 7.0]
    assert found.state == {"step": 7}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3):
        checkpoints.save(step, saved(step))
    assert checkpoints.names() == ["step-00000003", "step-00000002"]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(tmp_path: Path, name: str, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, saved(1))
    broken = checkpoints.save(2, saved(2)) / name
    content = broken.read_bytes()
    broken.unlink()
    if damage == "short":
        broken.write_bytes(content[: len(content) // 2])
    if damage == "flipped":
        middle = len(content) // 2
        broken.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    warnings: list[str] = []
    found = checkpoints.newest(warnings.append)
    assert found is not None
    harmless = name == "manifest.json" and found.state["step"] == 2  # a flipped bit in white space
    assert harmless or (found.state["step"] == 1 and "step-00000002" in warnings[0])


def test_nothing_saved_yet_is_no_error(tmp_path: Path) -> None:
    assert newest_step(tmp_path) is None


def test_all_damaged_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    (Checkpoints(tmp_path, keep=3).save(1, saved(1)) / "model.safetensors").unlink()
    with pytest.raises(UserError, match="every checkpoint"):
        newest_step(tmp_path)


@pytest.mark.parametrize("stage", ["save_file", "sha256", "settle"])
def test_a_full_disk_leaves_the_previous_checkpoint_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, saved(1))

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, stage, full)
        with pytest.raises(RunError, match=r"No space left on device; the last checkpoint is step-00000001"):
            checkpoints.save(2, saved(2))
    assert newest_step(tmp_path) == 1
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_a_save_that_was_killed_halfway_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, saved(1))
    (checkpoints.folder / ".saving-step-00000002").mkdir()
    (checkpoints.folder / ".saving-step-00000002" / "model.safetensors").write_bytes(b"half")
    assert newest_step(tmp_path) == 1
    checkpoints.save(3, saved(3))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-00000001", "step-00000003"]


def test_a_damaged_checkpoint_is_written_again_when_its_step_comes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    (checkpoints.save(2, saved(2)) / "model.safetensors").write_bytes(b"damaged")
    checkpoints.save(2, saved(2))
    assert newest_step(tmp_path) == 2


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    folder = Checkpoints(tmp_path, keep=1).save(1, saved(1))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}
    assert json.loads((folder / "manifest.json").read_text())["format"] == 1


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimizer_goes_on_bit_equal_after_a_round_trip(kind: str) -> None:
    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 3)
        group = {"params": list(layer.parameters()), "names": ["weight", "bias"]}
        made = (
            torch.optim.AdamW([group], fused=True)
            if kind == "adamw"
            else torch.optim.SGD([group], lr=0.1, momentum=0.9)
        )
        return layer, made

    def step(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, number: int) -> None:
        torch.manual_seed(number)
        layer(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    through, optimizer = fresh()
    for number in range(4):
        step(through, optimizer, number)
    again, second = fresh()
    for number in range(2):
        step(again, second, number)
    weights, memory = again.state_dict(), optimizer_tensors(second)
    resumed, third = fresh()
    resumed.load_state_dict(weights)
    restore_optimizer(third, memory)
    for number in (2, 3):
        step(resumed, third, number)
    assert torch.equal(resumed.weight, through.weight)
    assert torch.equal(resumed.bias, through.bias)
