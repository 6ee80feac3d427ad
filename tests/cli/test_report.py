"""`sslcli report` as a person meets it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.cli import run


@pytest.fixture
def trained(tmp_path: Path, tiny_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was trained for a moment."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    assert run(["pretrain", str(tiny_recipe()), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    return tmp_path / "run"


def test_the_file_is_written_beside_the_run_and_named_on_stdout(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["report", str(trained), "--figures", "curves, pca"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{trained / 'report.html'}\n"
    assert [line.split(":")[0] for line in captured.err.splitlines()] == ["figure curves", "figure pca"]
    assert "</html>" in (trained / "report.html").read_text()


def test_json_tells_what_the_page_holds(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "deep" / "page.html"
    capsys.readouterr()
    assert run(["report", str(trained), "--figures", "curves,routing", "-o", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["bytes"], told["finished"]) == (str(file), file.stat().st_size, True)
    assert [one["figure"] for one in told["figures"]] == ["curves"]
    assert [one["figure"] for one in told["left_out"]] == ["routing"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pixels"], "pixels is no run, so the file must be named"),
        (["runs/none"], "there is no runs/none"),
        (["runs/none", "-o", "a.html"], "there is no runs/none"),
        (["pixels", "-o", "a.pdf"], "a.pdf does not end in .html\nhint: name it a.html"),
        (["pixels", "-o", "."], ". does not end in .html\nhint: name it report.html"),
        (["pixels", "-o", ".."], ".. does not end in .html\nhint: name it ../report.html"),
        (["pixels", "-o", "a.html", "--figures", "curve"], "no figure is called 'curve'"),
        (["pixels", "-o", "a.html", "--figures", "pca", "--no-figures"], "contradict each other"),
        (["pixels", "-o", "a.html", "--data", "picz"], "no folder picz"),
    ],
)
def test_mistakes_cost_exit_code_2_and_write_nothing(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []
