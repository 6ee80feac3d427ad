"""A run as it stands on the disk, made of words alone: nothing is trained."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

RECIPE = """schema = 1
name = "{name}"
[data]
train = "demo"
[backbone]
name = "vit"
width = 32
[views.global]
augmentation = "multicrop"
crops = 2
size = 16
[[loss]]
name = "mae"
weight = 0.5
mask_ratio = {ratio}
[optimizer]
name = "adamw"
lr = 0.001
lr_batch = 256
[train]
epochs = 4.0
batch_size = 512
"""


def evaluation(value: float, *, low: float = 0.0, high: float = 1.0, **more: Any) -> dict[str, Any]:
    """A kept evaluation of one row, at k = 20."""
    row = {"k": 20, "top1": value, "top1_interval": [low, high], "top5": 0.9}
    told = {"protocol": "knn", "run": "runs/first", "data": "demo@test", "results": [row], "shares": ["top1", "top5"]}
    command = "sslcli eval knn runs/first --k 20"
    made = {"options": {"seed": 0, "k": [20]}, "command": command, "time": "2026-01-02T03:04:05+00:00"}
    return told | {"judged": "the student", "test": 961} | made | more


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run("first", lines=[...], evaluations=[...], card={"step": 40, "epoch": 4.0})`: a folder of a run."""

    def make(
        name: str,
        *,
        lines: Sequence[Mapping[str, Any] | str] = (),
        evaluations: Sequence[Any] = (),
        card: Mapping[str, Any] | None = None,
        environment: Any = None,
        ratio: float = 0.75,
        title: str = "",
    ) -> Path:
        folder = tmp_path / name
        (folder / "evaluations").mkdir(parents=True)
        (folder / "recipe.toml").write_text(RECIPE.format(name=title or name, ratio=ratio))
        written = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in written))
        (folder / "environment.json").write_text(json.dumps(environment or {}))
        for number, document in enumerate(evaluations):
            (folder / "evaluations" / f"{number}.json").write_text(json.dumps(document))
        if card is not None:
            (folder / "backbone.safetensors").write_bytes(b"")
            (folder / "config.json").write_text(json.dumps({"architecture": "vit_small_patch16_224", "sslcli": card}))
        return folder

    return make


@pytest.fixture
def kept() -> Callable[..., dict[str, Any]]:
    """`kept(0.4, low=0.3, high=0.5)`: a kept evaluation."""
    return evaluation
