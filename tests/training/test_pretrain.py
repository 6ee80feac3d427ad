"""A run from the command line, in this process: what it leaves behind, and what it refuses."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file

from sslcli.cli import run

COLLAPSING = '''
"""A loss that pulls all features together, one that is no number, and one that leaves the last norm alone."""
import torch
from sslcli.api import Loss, LossOptions, hookimpl

class Together(torch.nn.Module):
    def __init__(self, options, context): super().__init__()
    def forward(self, step):
        features = torch.nn.functional.normalize(step.student("global").pooled, dim=-1)
        return 1 - (features * features.flatten(0, 1).mean(0).detach()).sum(-1).mean()

class Nothing(torch.nn.Module):
    def __init__(self, options, context): super().__init__()
    def forward(self, step): return step.student("global").pooled.mean() * float("nan")

class BeforeTheNorm(torch.nn.Module):
    def __init__(self, options, context): super().__init__()
    def forward(self, step): return step.student("global").tokens.square().mean()

@hookimpl
def sslcli_losses():
    yield Loss("before_the_norm", LossOptions, "collapsing:BeforeTheNorm")
    yield Loss("together", LossOptions, "collapsing:Together")
    yield Loss("nothing", LossOptions, "collapsing:Nothing")
'''


@pytest.fixture
def train(tmp_path: Path, tiny_recipe: Callable[..., Path], fresh_registry: None) -> Callable[..., int]:
    """`train("run", loss=[…])`: the exit code of a run in `tmp_path / "run"`."""

    def call(name: str, *arguments: str, **tables: Any) -> int:
        return run(["pretrain", str(tiny_recipe(**tables)), "--output", str(tmp_path / name), *arguments])

    return call


def test_a_run_leaves_what_the_documentation_says(tmp_path: Path, train: Callable[..., int]) -> None:
    assert train("run") == 0
    names = {path.name for path in (tmp_path / "run").iterdir()}
    weights = {"checkpoints", "backbone.safetensors", "config.json"}
    assert names == {"recipe.toml", "environment.json", "metrics.jsonl", *weights}


def test_the_last_line_on_stdout_is_the_folder(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    train("run")
    assert capsys.readouterr().out == f"{tmp_path / 'run'}\n"


def test_json_is_one_object_with_the_last_numbers(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    train("run", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == str(tmp_path / "run")
    assert told["last"]["step"] == 2
    assert math.isfinite(told["last"]["loss"])


def test_plain_timm_opens_the_backbone_with_the_same_features(tmp_path: Path, train: Callable[..., int]) -> None:
    assert train("run") == 0
    model = timm.create_model(f"local-dir:{tmp_path / 'run'}", pretrained=True).eval()
    saved = load_file(tmp_path / "run" / "backbone.safetensors")
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    trained = load_file(newest / "model.safetensors")
    assert model.state_dict().keys() == saved.keys()
    assert all(trained[f"backbone.model.{name}"].equal(tensor) for name, tensor in model.state_dict().items())


def test_a_saved_recipe_runs_again_and_gives_the_same_weights(
    tmp_path: Path, train: Callable[..., int], bit_equal: Callable[..., None]
) -> None:
    assert train("run") == 0
    assert run(["pretrain", str(tmp_path / "run" / "recipe.toml"), "--output", str(tmp_path / "again")]) == 0
    bit_equal(tmp_path / "run", tmp_path / "again")


def test_relative_data_hold_from_another_folder(
    tmp_path: Path, train: Callable[..., int], picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(picture_folder.parent)
    assert train("run", "--data", picture_folder.name) == 0
    monkeypatch.chdir(tmp_path)
    assert run(["pretrain", "--resume", "run"]) == 0


def test_an_existing_run_is_not_trodden_on(train: Callable[..., int], capsys: Any) -> None:
    assert train("run") == 0
    assert train("run") == 2
    assert "hint: go on with it by: sslcli pretrain --resume" in capsys.readouterr().err


def test_a_folder_that_is_taken_is_told_before_anything_is_read(
    tmp_path: Path, train: Callable[..., int], capsys: Any
) -> None:
    (tmp_path / "run").write_text("a file")
    assert train("run", init="nowhere") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'run'} is already there")


def test_a_run_does_not_take_the_place_of_the_folder_that_a_person_stands_in(
    tmp_path: Path, train: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert train("here") == 2
    assert "is the folder you are in" in capsys.readouterr().err


def test_resuming_on_changed_pictures_is_refused(
    tmp_path: Path, train: Callable[..., int], picture_folder: Path, capsys: Any
) -> None:
    pictures = shutil.copytree(picture_folder, tmp_path / "pictures")
    assert train("run", data={"train": str(pictures)}) == 0
    next(pictures.rglob("*.png")).unlink()
    assert run(["pretrain", "--resume", str(tmp_path / "run")]) == 2
    assert "24 pictures" in capsys.readouterr().err


def test_resuming_on_the_same_pictures_elsewhere_is_allowed(
    tmp_path: Path, train: Callable[..., int], picture_folder: Path
) -> None:
    here = shutil.copytree(picture_folder, tmp_path / "here")
    assert train("run", data={"train": str(here)}) == 0
    here.rename(tmp_path / "there")
    assert run(["pretrain", "--resume", str(tmp_path / "run"), "--data", str(tmp_path / "there")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name either a recipe, or a run with --resume"),
        (["--resume", "nowhere"], "there is no run at nowhere"),
        (["quickstart", "--resume", "run"], "name either a recipe, or a run with --resume"),
        (["quickstart", "--set", "train.trackers=['tensorbord']"], "no tracker 'tensorbord'"),
        (["quickstart", "--set", "train.batch_size=4000"], "4000"),
        (["quickstart", "--set", "optimizer.lr_factors={'*.nothing'=0.1}"], "no parameter is called '*.nothing'"),
    ],
)
def test_mistakes_are_told_with_exit_code_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["pretrain", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_half_precision_needs_a_gpu(capsys):
    assert run(["pretrain", "quickstart", "--set", "train.precision='fp16'"]) == 2
    assert "needs a GPU" in capsys.readouterr().err


def test_a_dry_run_builds_everything_and_writes_nothing(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    assert train("run", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert not (tmp_path / "run").exists()


def test_init_from_a_run_starts_from_its_weights(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    assert train("first", train={"epochs": 1.0}) == 0
    slow = {"lr": 1e-30, "weight_decay": 0.0}
    assert train("second", "--set", f"init={tmp_path / 'first'}", optimizer=slow) == 0
    first, second = (load_file(tmp_path / name / "backbone.safetensors") for name in ("first", "second"))
    assert all(torch.allclose(first[name], second[name], atol=1e-12) for name in first)
    assert "tensors from" in capsys.readouterr().err


def test_a_collapse_is_told_in_words_with_exit_code_three(
    tmp_path: Path, train: Callable[..., int], capsys: Any
) -> None:
    (tmp_path / "collapsing.py").write_text(COLLAPSING)
    code = train(
        "run",
        "--plugin",
        str(tmp_path / "collapsing.py"),
        loss=[{"name": "together"}],
        optimizer={"lr": 0.01},
        train={"epochs": 100.0},
        sentinel={"every_steps": 5},
    )
    assert code == 3
    assert "all pictures get nearly the same vector" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_with_exit_code_three(
    tmp_path: Path, train: Callable[..., int], capsys: Any
) -> None:
    (tmp_path / "collapsing.py").write_text(COLLAPSING)
    assert train("run", "--plugin", str(tmp_path / "collapsing.py"), loss=[{"name": "nothing"}]) == 3
    assert "nothing is nan" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))


def test_parameters_that_no_loss_reaches_are_named_once(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    (tmp_path / "collapsing.py").write_text(COLLAPSING)
    assert train("run", "--plugin", str(tmp_path / "collapsing.py"), loss=[{"name": "before_the_norm"}]) == 0
    told = capsys.readouterr().err
    assert told.count("no loss gives a gradient to backbone.model.norm.weight, backbone.model.norm.bias") == 1


def test_a_loss_may_have_the_name_of_a_method_of_torch(tmp_path: Path, train: Callable[..., int]) -> None:
    (tmp_path / "collapsing.py").write_text(COLLAPSING.replace('"together"', '"half"'))
    assert train("run", "--plugin", str(tmp_path / "collapsing.py"), loss=[{"name": "half"}]) == 0


def test_parameters_that_wait_for_their_epoch_are_not_taken_for_forgotten(
    train: Callable[..., int], capsys: Any
) -> None:
    freeze = [{"parameters": ["backbone.model.norm.*"], "epochs": 1.0}, {"parameters": ["*.cls_token"]}]
    assert train("run", optimizer={"freeze": freeze}) == 0
    assert "no loss gives a gradient" not in capsys.readouterr().err


def test_a_batch_of_two_is_not_taken_for_a_collapse(train: Callable[..., int]) -> None:
    assert train("run", train={"batch_size": 2, "epochs": 0.5}, sentinel={"every_steps": 1}) == 0


def test_a_folder_that_cannot_be_made_is_said_in_a_line(tmp_path: Path, train: Callable[..., int], capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    assert train("file/run") == 2
    assert f"cannot make {tmp_path / 'file' / 'run'}: [Errno 20] Not a directory" in capsys.readouterr().err


def test_accumulation_gives_the_gradient_of_the_whole_batch(
    tmp_path: Path, train: Callable[..., int], nearly_equal: Callable[..., None]
) -> None:
    mae = [{"name": "mae", "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}]
    sgd = {"name": "sgd", "lr": 0.05}
    for name, accumulation in (("whole", 1), ("parts", 4)):
        training = {"accumulation": accumulation, "epochs": 1.0}
        assert train(name, loss=mae, backbone={"patch_size": 4}, optimizer=sgd, train=training) == 0
    nearly_equal(tmp_path / "whole", tmp_path / "parts", atol=1e-6)


def test_workers_do_not_change_a_run(tmp_path: Path, train: Callable[..., int], bit_equal: Callable[..., None]) -> None:
    for name, workers in (("none", 0), ("two", 2)):
        assert train(name, data={"workers": workers}) == 0
    bit_equal(tmp_path / "none", tmp_path / "two")


@pytest.mark.slow
def test_tensorboard_gets_the_metrics(tmp_path: Path, train: Callable[..., int]) -> None:
    pytest.importorskip("tensorboard")
    assert train("run", train={"trackers": ["tensorboard"]}) == 0
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_compiled_run_trains(train: Callable[..., int], precision: str) -> None:
    assert train("run", train={"compile": True, "precision": precision}) == 0


def test_bf16_trains_on_a_cpu(train: Callable[..., int]) -> None:
    assert train("run", train={"precision": "bf16"}) == 0
