"""`sslcli compare` as a person meets it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sslcli.cli import run


def make(folder: Path, *, momentum: float, scores: Sequence[float] = (), protocol: str = "knn") -> str:
    """A run folder with a recipe, one line of metrics, and perhaps an evaluation."""
    (folder / "evaluations").mkdir(parents=True)
    (folder / "recipe.toml").write_text(f'name = "{folder.name}"\n[teacher]\nmomentum = {momentum}\n')
    (folder / "metrics.jsonl").write_text('{"step": 10, "epoch": 1.0, "loss": 2.5, "knn_top1": 0.25}\n')
    if scores:
        rows = [{"k": k, "top1": top1, "top1_interval": [top1 - 0.05, top1 + 0.05]} for k, top1 in enumerate(scores, 1)]
        document: dict[str, Any] = {"protocol": protocol, "run": str(folder), "data": "demo@test", "results": rows}
        document |= {"shares": ["top1"], "time": "2026-01-01", "command": f"sslcli eval knn {folder} --data demo"}
        (folder / "evaluations" / "a.json").write_text(json.dumps(document))
    return str(folder)


def test_runs_evaluations_and_recipes_stand_in_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = make(tmp_path / "a", momentum=0.9, scores=[0.5, 0.3])
    second = make(tmp_path / "b", momentum=0.99, scores=[0.48, 0.45])
    third = make(tmp_path / "c", momentum=0.99)
    assert run(["compare", first, second, third]) == 0
    captured = capsys.readouterr()
    lines = [line.split("  ") for line in captured.out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert ["run", "recipe", "state", "step", "epoch", "last loss", "last knn_top1"] in cells
    assert [first, "50.0% (45.0 to 55.0%) *", "30.0% (25.0 to 35.0%)"] in cells
    assert [second, "48.0% (43.0 to 53.0%) ~", "45.0% (40.0 to 50.0%) *"] in cells
    assert [third, "-", "-"] in cells
    assert ["teacher.momentum", "0.9", "0.99", "0.99"] in cells
    assert captured.err == f"{third} was not judged so; judge it by: sslcli eval knn {third} --data demo\n"


def test_json_has_every_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = make(tmp_path / "a", momentum=0.9, scores=[0.5]), make(tmp_path / "b", momentum=0.99)
    assert run(["compare", first, second, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["last"]["loss"] for one in told["runs"]] == [2.5, 2.5]
    (value,) = told["tables"][0]["values"]
    assert value == {
        "run": first,
        "row": {"k": 1},
        "metric": "top1",
        "value": 0.5,
        "interval": [0.45, 0.55],
        "best": False,
        "near": False,
    }
    assert told["differences"]["teacher.momentum"] == {first: 0.9, second: 0.99}
    assert [one["run"] for one in told["missing"]] == [second]


def test_runs_without_evaluations_are_told_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = make(tmp_path / "a", momentum=0.9)
    assert run(["compare", only]) == 0
    assert f"judge each by: sslcli eval knn {only}" in capsys.readouterr().err


def test_runs_of_one_recipe_are_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make(tmp_path / name / "same", momentum=0.9) for name in "ab"]
    assert run(["compare", *runs]) == 0
    assert "the recipes are the same" in capsys.readouterr().out


def test_more_columns_than_fit_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", make(tmp_path / "a", momentum=0.9, scores=[0.1] * 11)]) == 0
    assert "and 3 more columns, with --json" in capsys.readouterr().out


def test_what_is_no_run_and_a_protocol_that_no_one_has_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only = make(tmp_path / "a", momentum=0.9, scores=[0.5])
    assert run(["compare", only, "timm:resnet18"]) == 2
    assert "timm:resnet18 is no run: only runs keep their evaluations" in capsys.readouterr().err
    assert run(["compare", only, "--protocol", "linear"]) == 2
    assert "there are: knn" in capsys.readouterr().err
