"""`sslcli import`: what it prints, what it refuses before it reads, and that its run is taken by other commands."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch

from sslcli.cli import run

Captured = pytest.CaptureFixture[str]
OWN = """
from sslcli.api import Importer, Options, hookimpl
from sslcli.errors import UserError

@hookimpl
def sslcli_importers():
    yield Importer("own", Options, "test_own_importer:read")

def read(options, document):
    raise UserError(f"{len(document)} entries, and I want none")
"""
SIZES = {"img_size": 16, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backbone in the manner of Mugs, in a folder of its own that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    torch.save(timm.create_model("vit_small_patch16_224", num_classes=0, **SIZES).state_dict(), tmp_path / "mugs.pth")
    return tmp_path / "mugs.pth"


@pytest.fixture
def imported(released: Path, capsys: Captured) -> Path:
    """The run that is made of it."""
    assert run(["import", "mugs", str(released), "--output", "run"]) == 0
    capsys.readouterr()
    return Path("run")


def test_the_folder_is_printed_and_what_was_found_is_talk(released: Path, capsys: Captured) -> None:
    assert run(["import", "mugs", "mugs.pth", "-o", "run"]) == 0
    said = capsys.readouterr()
    assert said.out == "run\n"
    assert "2 blocks of width 64 with 1 head," in said.err


def test_json_is_one_object(released: Path, capsys: Captured) -> None:
    assert run(["import", "mugs", "mugs.pth", "-o", "run", "--set", "epochs=5", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["run"], data["importer"], data["file"]) == ("run", "mugs", "mugs.pth")
    assert (data["recipe"], data["epoch"], data["tensors"]) == ("mugs-vit-64x2-5ep", 5.0, 30)


def test_without_a_folder_the_run_is_among_the_runs(released: Path, capsys: Captured) -> None:
    assert run(["import", "mugs", "mugs.pth"]) == 0
    assert capsys.readouterr().out == "runs/mugs-vit-64x2\n"


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["mags", "mugs.pth"], "no importer is called 'mags'", "did you mean 'mugs'?"),
        (["mugs", "mugs.pth", "--set", "head=1"], "--set head=1: head unknown option", "did you mean 'heads'?"),
        (
            ["mugs", "mugs.pth", "--set", "network=techer"],
            "--set network=techer: network must be 'teacher' or 'student', not 'techer'",
            "did you mean 'teacher'?",
        ),
        (["mugs", "mugs.pth", "--set", "heads"], "--set heads: is not of the form key=value", "for example"),
        (["mugs", "mugz.pth"], "there is no file mugz.pth", "name the .pth"),
    ],
)
def test_mistakes_are_told_with_a_hint(
    arguments: list[str], error: str, hint: str, released: Path, capsys: Captured
) -> None:
    assert run(["import", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"error: {error}"
    assert lines[1].startswith(f"hint: {hint}")


def test_all_mistakes_in_the_options_are_told_at_once(released: Path, capsys: Captured) -> None:
    assert run(["import", "mugs", "mugs.pth", "--set", "head=1", "--set", "epochs=0"]) == 2
    error, second, hint = capsys.readouterr().err.splitlines()
    assert error == "error: --set head=1: head unknown option"
    assert second == "--set epochs=0: epochs must be at least 1, not 0"
    assert hint == "hint: its options: sslcli plugins show mugs"


@pytest.mark.parametrize("arguments", [["mags", "mugs.pth"], ["mugs", "mugs.pth", "--set", "head=1"]])
def test_mistakes_in_names_and_options_load_no_torch(arguments: list[str]) -> None:
    code = f"import sys; from sslcli.cli import run; run({['import', *arguments]}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_imported_run_and_its_random_start_are_judged(
    imported: Path, picture_folder: Path, capsys: Captured
) -> None:
    assert run(["eval", "knn", "run", "--data", str(picture_folder), "--k", "3", "--baselines", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["judged"] == "the teacher imported as a run of mugs-vit-64x2"
    assert [baseline["run"] for baseline in report["baselines"]] == ["random:run", "pixels"]


def test_a_recipe_starts_from_an_imported_run(
    imported: Path, tiny_recipe: Callable[..., Path], capsys: Captured
) -> None:
    recipe = tiny_recipe(init="run", backbone={"width": 64, "depth": 2, "heads": 1, "patch_size": 8})
    assert run(["pretrain", str(recipe), "--output", "further"]) == 0
    assert "loaded 30 of 30 tensors from run" in capsys.readouterr().err


def test_an_imported_run_cannot_be_gone_on_with(imported: Path, capsys: Captured) -> None:
    assert run(["pretrain", "--resume", "run"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: run was imported from /")
    assert error.endswith("mugs.pth: it has no training here to go on with")
    assert hint == "hint: train a new run from its weights: sslcli pretrain RECIPE --set init=run"


def test_an_importer_in_a_file_of_its_own_is_named_by_plugin(
    released: Path, fresh_registry: None, capsys: Captured
) -> None:
    (released.parent / "test_own_importer.py").write_text(OWN)
    assert run(["import", "own", "mugs.pth", "--plugin", "test_own_importer.py"]) == 2
    assert capsys.readouterr().err == "error: 30 entries, and I want none\n"
