"""A cache of its own for each test, and the trained run that many of them judge."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.recipe import load_recipe
from sslcli.testing.recipes import joined, tiny_document, write_recipe
from sslcli.training.building import build_backbone, build_pretraining, context_of
from sslcli.training.checkpoint import Checkpoints, Saved, model_tensors
from sslcli.training.runs import RECIPE


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$SSLCLI_CACHE in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def make_run(tmp_path: Path, picture_folder: Path) -> Callable[..., Path]:
    """`make_run(steps=(1, 2))`: a run with checkpoints of a tiny backbone, others at each step; its teacher differs."""

    def make(steps: tuple[int, ...] = (1,), **tables: object) -> Path:
        run = tmp_path / "run"
        run.mkdir()
        write_recipe(run / RECIPE, joined(tiny_document(picture_folder), tables))
        recipe = load_recipe(run / RECIPE)
        context = context_of(recipe, samples=24)
        pretraining = build_pretraining(recipe, context, build_backbone(recipe, context))
        for step in steps:
            for name, parameter in pretraining.named_parameters():
                parameter.data.add_((0.02 if ".target." in name else 0.01) * step)
            Checkpoints(run, keep=3).save(step, Saved(model_tensors(pretraining), {}, {"step": step}))
        return run

    return make
