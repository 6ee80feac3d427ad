"""Runs that were never trained but hold all that a figure reads: recipe, environment, a checkpoint, metrics."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.recipe import load_recipe
from sslcli.testing.recipes import joined, tiny_document, write_recipe
from sslcli.training.building import build_backbone, build_pretraining, context_of
from sslcli.training.checkpoint import Checkpoints, Saved, model_tensors
from sslcli.training.runs import ENVIRONMENT, METRICS, RECIPE

MakeRun = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make_run(tmp_path: Path, picture_folder: Path) -> MakeRun:
    """`make_run(loss=[{"name": "mae"}])`: the folder of a run; its pictures have 32 pixels and 4 x 4 patches."""

    def make(**tables: object) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        document = joined(tiny_document(picture_folder), {"views": {"global": {"size": 32}}})
        write_recipe(run / RECIPE, joined(document, tables))
        recipe = load_recipe(run / RECIPE)
        context = context_of(recipe, samples=24)
        pretraining = build_pretraining(recipe, context, build_backbone(recipe, context))
        Checkpoints(run, keep=1).save(1, Saved(model_tensors(pretraining), {}, {"step": 1}))
        data = {"train": str(picture_folder), "samples": 24, "fingerprint": ""}
        (run / ENVIRONMENT).write_text(json.dumps({"data": data}))
        rows = [{"step": step, "epoch": step / 3, "loss": 1 / step, "lr": 0.1} for step in range(1, 7)]
        (run / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run

    return make


@pytest.fixture
def unlabelled(tmp_path: Path, picture_folder: Path) -> Path:
    """The same pictures without class folders."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in picture_folder.rglob("*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    return flat
