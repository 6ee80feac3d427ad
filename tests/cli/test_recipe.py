"""`sslcli recipe`: what it prints, where, and with which exit code."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sslcli.cli import run
from sslcli.recipe import load_recipe

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *arguments: str) -> Any:
    """The JSON object on stdout."""
    run([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text('extends = "mae/tiny"\n[backbone]\npatch_sise = 8\n[train]\nepochs = 0\n')
    return tmp_path


def test_list_names_the_recipes_with_their_summaries(capsys: Capture) -> None:
    assert run(["recipe", "list"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("quickstart"))
    assert "demo pictures" in line


def test_list_gives_json(capsys: Capture) -> None:
    names = [entry["name"] for entry in printed(capsys, "recipe", "list")["recipes"]]
    assert "quickstart" in names


def test_show_prints_a_recipe_with_every_default(capsys: Capture) -> None:
    assert run(["recipe", "show", "quickstart", "--set", "train.epochs=7"]) == 0
    said = tomllib.loads(capsys.readouterr().out)
    assert said == load_recipe("quickstart", ["train.epochs=7"]).document


def test_show_gives_json(capsys: Capture) -> None:
    assert printed(capsys, "recipe", "show", "quickstart") == load_recipe("quickstart").document


def test_check_says_ok_and_what_the_recipe_does(capsys: Capture) -> None:
    assert run(["recipe", "check", "quickstart"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("ok\nname: quickstart\ndata: demo\n")
    assert said.err == ""


def test_check_gives_json(capsys: Capture) -> None:
    said = printed(capsys, "recipe", "check", "quickstart")
    assert (said["ok"], said["name"], said["backbone"]) == (True, "quickstart", "resnet")


def test_check_tells_all_mistakes_on_stderr(capsys: Capture) -> None:
    assert run(["recipe", "check", "bad.toml"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[:3] == [
        "error: 2 mistakes in the recipe",
        "bad.toml:3: backbone.patch_sise unknown option",
        "  hint: did you mean 'patch_size'?",
    ]


def test_check_gives_mistakes_as_json_on_stdout(capsys: Capture) -> None:
    assert run(["recipe", "check", "bad.toml", "--set", "optimizer.lrr=1", "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert [(e["file"], e["line"], e["path"]) for e in said["errors"]] == [
        ("bad.toml", 3, "backbone.patch_sise"),
        ("bad.toml", 5, "train.epochs"),
        ("--set optimizer.lrr=1", None, "optimizer.lrr"),
    ]
    assert said["errors"][0] | {"hint": ""} == {
        **{"file": "bad.toml", "line": 3, "path": "backbone.patch_sise"},
        **{"message": "unknown option", "hint": ""},
    }


def test_check_gives_json_for_a_recipe_that_is_not_there(capsys: Capture) -> None:
    said = printed(capsys, "recipe", "check", "gone.toml")
    assert (said["ok"], said["errors"][0]["message"]) == (False, "there is no file 'gone.toml'")


def test_new_writes_a_recipe_that_checks(here: Path, capsys: Capture) -> None:
    (here / "pictures").mkdir()
    assert run(["recipe", "new", "mine.toml", "--data", "pictures"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("mine.toml\n", "next: sslcli pretrain mine.toml\n")
    assert run(["recipe", "check", "mine.toml"]) == 0


def test_new_overwrites_nothing(capsys: Capture) -> None:
    assert run(["recipe", "new", "bad.toml", "--data", "demo"]) == 2
    assert "error: 'bad.toml' is there already" in capsys.readouterr().err


def test_schema_is_json(capsys: Capture) -> None:
    assert run(["recipe", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


def test_long_lines_are_neither_cut_nor_wrapped(here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    run(["recipe", "check", "bad.toml", "--set", f"data.{'x' * 200}=[loss]"])
    assert f"data.{'x' * 200}=[loss]: " in capsys.readouterr().err
