"""`sslcli export`: what it prints, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm

from sslcli.cli import run
from sslcli.cli.export import Format
from sslcli.evaluation.exporting.handing import FORMATS

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def trained(tmp_path: Path, tiny_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> str:
    """A run in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    assert run(["pretrain", str(tiny_recipe()), "--output", "run"]) == 0
    capsys.readouterr()
    return "run"


def test_the_formats_to_choose_from_are_those_that_there_are() -> None:
    assert [form.value for form in Format] == list(FORMATS)


def test_the_folder_is_printed_and_what_was_checked_is_talk(trained: str, capsys: Captured) -> None:
    assert run(["export", trained, "--to", "timm", "-o", "out"]) == 0
    said = capsys.readouterr()
    assert said.out == "out\n"
    assert "student: the student at step 2 of tiny" in said.err
    assert "30 of 30 tensors" in said.err
    assert timm.create_model("local-dir:out", pretrained=True).num_features == 32


def test_json_is_one_object_and_the_weights_are_judged_like_a_run(
    trained: str, picture_folder: Path, capsys: Captured
) -> None:
    assert run(["export", trained, "--to", "timm", "-o", "out", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["network"], data["matched"], data["tensors"]) == ("student", 30, 30)
    assert data["command"] == "sslcli export run --to timm --network student -o out"
    for name, plain in (("out/model.safetensors", "plain"), ("out", "again")):
        assert run(["export", name, "--to", "safetensors", "-o", plain]) == 0
    results = []
    for name in (trained, "out/model.safetensors", "out"):
        capsys.readouterr()
        assert run(["eval", "knn", name, "--data", str(picture_folder), "--k", "5", "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out)["results"])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["run"], "what to write is not said", "--to timm, hf, onnx, safetensors: such as '--to timm'"),
        (["run", "--to", "timm"], "where to write is not said", "such as '-o mine-timm'"),
        (["run", "--to", "onnx", "-o", "a.onnx"], "a.onnx is named like a file", "such as '-o a'"),
        (["run", "--to", "timm", "-o", "."], "'.' is the folder you are in", "name a folder to be made"),
        (["run", "--to", "timm", "-o", "out"], "there is no run", "RUN is a run, a checkpoint"),
        (["pixels", "--to", "timm", "-o", "out"], "pixels has no backbone", "name a run"),
    ],
)
def test_mistakes_are_told_with_a_hint(
    arguments: list[str], error: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["export", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"error: {error}")
    assert lines[1].startswith(f"hint: {hint}")
    assert list(tmp_path.iterdir()) == []
