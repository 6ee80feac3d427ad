"""`sslcli show` as a person meets it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from sslcli.cli import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


def test_the_file_is_named_on_stdout_and_made_with_its_folder(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "neighbours.png"
    assert run(["show", "neighbours", "pixels", "--data", str(picture_folder), "-o", str(file)]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{file}\n"
    assert "features" in captured.err
    assert Image.open(file).size[0] < 1000


def test_json_is_one_object_with_caption_and_numbers(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "matrix.svg"
    data = ["--data", str(picture_folder), "--k", "1", "-o", str(file), "--json"]
    assert run(["show", "neighbour-matrix", "pixels", *data]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["figure"], told["run"], told["file"]) == ("neighbour-matrix", "pixels", str(file))
    assert told["caption"]
    assert 0 <= told["purity"] <= 1
    assert "neighbours" in file.read_text()  # letters stay letters


def test_an_ending_that_no_figure_has_is_refused_before_anything_is_computed(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["show", "neighbours", "pixels", "--data", str(picture_folder), "-o", str(tmp_path / "a.bmp")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'a.bmp'} has no ending")


def test_the_neighbours_that_are_hinted_at_are_there(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--train", str(picture_folder), "--test", str(picture_folder), "-o", str(tmp_path / "a.png")]
    assert run(["show", "neighbours", "pixels", *arguments, "--k", "24"]) == 2
    assert "ask for fewer, as in '--k 3'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["neighbours", "pixels", "--data", "demo", "-o", "a.txt"], "a.txt has no ending"),
        (["neighbours", "pixels", "--data", "demo", "-o", "a.svg"], "a.svg has no ending"),
        (["neighbours", "pixels", "-o", "a.png"], "what to judge on is not said"),
        (["neighbuors", "pixels", "-o", "a.png"], "did you mean 'neighbours'?"),
        (["neighbours", "pixels", "--data", "demo", "--k", "0", "-o", "a.png"], "--k 0"),
        (["attention", "pixels", "--data", "demo", "-o", "a.png"], "pixels has no backbone"),
        (["embedding", "pixels", "--data", "demo", "--method", "lle", "-o", "a.png"], "--method lle"),
        (["curves", "runs/none", "-o", "a.png"], "runs/none"),
        (["pca", "runs/none", "-o", "a.png"], "there is no runs/none"),
        (
            ["class-distances", "pixels", "--data", "demo", "--against", "runs/none", "-o", "a.png"],
            "there is no runs/none",
        ),
    ],
)
def test_mistakes_cost_exit_code_2_and_leave_no_file(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["show", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert [path for path in tmp_path.iterdir() if path.suffix] == []


def test_help_of_a_figure_names_its_options_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "attention", "--help"]) == 0
    told = capsys.readouterr().out
    assert "--mass" in told
    assert "sslcli show attention runs/dino-tiny -o attention.png" in told
