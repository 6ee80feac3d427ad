"""`sslcli eval knn` as a person meets it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.cli import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


def test_the_report_names_run_data_features_and_accuracies(
    picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "knn", "pixels", "--data", str(picture_folder), "--k", "1,5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines[: lines.index("")])
    assert (facts["protocol"], facts["run"]) == ("knn", "pixels: the pixels at 32 x 32")
    assert "a fifth of each class is held out" in facts["data"]
    assert [facts[name] for name in ("train", "test", "width", "classes")] == ["20", "4", "3072", "2"]
    header, *rows = lines[lines.index("") + 1 :]
    assert header.split() == ["run", "k", "top1", "top5"]
    assert [row.split()[:2] for row in rows] == [["pixels", "1"], ["pixels", "5"]]
    assert all(re.search(r"[\d.]+% \([\d.]+ to [\d.]+%\)  [\d.]+%$", row) for row in rows)


def test_a_run_keeps_its_results_beside_it_unless_told_not_to(
    tmp_path: Path, tiny_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = tmp_path / "run"
    assert run(["pretrain", str(tiny_recipe()), "--output", str(run_folder)]) == 0
    assert run(["eval", "knn", str(run_folder), "--k", "5", "--no-save"]) == 0
    assert not (run_folder / "evaluations").exists()
    assert run(["eval", "knn", str(run_folder), "--k", "5"]) == 0
    (kept,) = (run_folder / "evaluations").iterdir()
    assert f"kept in {kept}" in capsys.readouterr().err
    assert json.loads(kept.read_text())["options"] == {"seed": 0, "k": [5], "temperature": 0.07}


def test_results_by_another_pooling_are_kept_apart_and_those_made_again_are_replaced(
    tmp_path: Path, tiny_recipe: Callable[..., Path]
) -> None:
    run_folder = tmp_path / "run"
    assert run(["pretrain", str(tiny_recipe()), "--output", str(run_folder)]) == 0
    for pool in ("auto", "mean", "cls", "auto"):
        assert run(["eval", "knn", str(run_folder), "--k", "5", "--pool", pool]) == 0
    kept = [json.loads(file.read_text())["options"] for file in (run_folder / "evaluations").iterdir()]
    assert sorted(options.get("pool", "auto") for options in kept) == ["auto", "cls", "mean"]


def test_a_result_that_cannot_be_kept_is_told_all_the_same(
    tmp_path: Path, tiny_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder = tmp_path / "run"
    assert run(["pretrain", str(tiny_recipe()), "--output", str(run_folder)]) == 0
    (run_folder / "evaluations").write_text("no folder")
    capsys.readouterr()
    assert run(["eval", "knn", str(run_folder), "--k", "5", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"]
    assert "cannot keep the result" in captured.err


def test_a_result_is_kept_where_its_reader_has_gone(
    tmp_path: Path, tiny_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(report: object) -> None:
        raise BrokenPipeError

    run_folder = tmp_path / "run"
    assert run(["pretrain", str(tiny_recipe()), "--output", str(run_folder)]) == 0
    monkeypatch.setattr("sslcli.cli.eval.print_json", gone)
    monkeypatch.setattr("sslcli.cli.close_quietly", lambda: 1)
    assert run(["eval", "knn", str(run_folder), "--k", "5", "--json"]) == 1
    assert list((run_folder / "evaluations").glob("knn-*.json"))


def test_a_bad_value_is_told_once(picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("0", "0,0"):
        assert run(["eval", "knn", "pixels", "--data", str(picture_folder), "--k", value]) == 2
        assert capsys.readouterr().err == f"error: --k {value}: must be at least 1, not 0\n"
    assert run(["eval", "finetune", "pixels", "--data", str(picture_folder), "--epochs", "0"]) == 2
    assert capsys.readouterr().err == "error: --epochs 0: must be more than 0, not 0\n"


def test_baselines_are_the_random_start_and_the_pixels_on_the_same_pictures(
    tmp_path: Path, tiny_recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    trained = str(tmp_path / "run")
    assert run(["pretrain", str(tiny_recipe()), "--output", trained]) == 0
    capsys.readouterr()
    assert run(["eval", "knn", trained, "--k", "5", "--baselines", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [baseline["run"] for baseline in report["baselines"]] == [f"random:{trained}", "pixels"]
    assert {baseline["data"] for baseline in report["baselines"]} == {report["data"]}


def test_pixels_are_no_baseline_of_themselves(picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "knn", "pixels", "--data", str(picture_folder), "--k", "1", "--baselines", "--json"]) == 0
    assert "baselines" not in json.loads(capsys.readouterr().out)


def test_a_baseline_that_cannot_be_judged_alike_costs_the_run_nothing(
    tmp_path: Path, tiny_recipe: Callable[..., Path], picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, data = str(tmp_path / "run"), str(picture_folder)
    assert run(["pretrain", str(tiny_recipe()), "--output", trained, "--quiet"]) == 0
    capsys.readouterr()
    asked = ["eval", "linear", trained, "--data", data, "--pooling", "cls", "--layers", "2", "--epochs", "1"]
    assert run([*asked, "--baselines", "--json"]) == 0
    captured = capsys.readouterr()
    assert "warning: the baseline pixels is left out" in captured.err
    assert [other["run"] for other in json.loads(captured.out)["baselines"]] == [f"random:{trained}"]


def test_json_is_one_object_with_shares(picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "knn", "pixels", "--data", str(picture_folder), "--k", "5", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert list(report)[:4] == ["protocol", "run", "data", "results"]
    assert (report["protocol"], report["run"]) == ("knn", "pixels")
    (result,) = report["results"]
    assert list(result) == ["k", "top1", "top1_interval", "top5"]
    assert result["top1_interval"][0] <= result["top1"] <= result["top1_interval"][1]
    assert 0 <= result["top1"] <= result["top5"] == 1.0


def test_talk_goes_to_stderr(picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["eval", "knn", "pixels", "--data", str(picture_folder), "--json"])
    assert "of 20 pictures of" in capsys.readouterr().err


def test_a_training_and_a_test_set_can_be_named_apart(picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(picture_folder)
    assert run(["eval", "knn", "pixels", "--train", folder, "--test", folder, "--k", "1", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["results"][0]["top1"] == 1.0
    assert "the same pictures" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pixels"], "what to judge on is not said"),
        (["pixels", "--data", "demo", "--k", "ten"], "--k ten: must be a whole number, not a string"),
        (["pixels", "--data", "demo", "--k", "3000"], "k = 3000 is more than the 2713 training pictures"),
        (["pixels", "--data", "demo", "--train", "demo"], "what to judge on is not clear"),
        (["pixels", "--data", "demo", "--temperature", "0"], "--temperature 0: must be more than 0, not 0"),
        (["pixels", "--data", "demo", "--pool", "max"], "max"),
        (["pixels", "--data", "demo", "--seed", "-1"], "--seed -1: must be at least 0, not -1"),
        (["pixels", "--data", "demo", "--seed", "4294967296"], "--seed 4294967296: must be at most 2147483647"),
        (["pixels", "--data", "demo", "--data", "demo"], "one --data is taken, not 2"),
        (["runs/none", "--data", "demo"], "there is no runs/none"),
        (["pixels", "--data", "parquet:nothing/*.parquet"], "nothing/*.parquet"),
    ],
)
def test_mistakes_cost_exit_code_2_and_a_line_that_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "knn", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_pictures_without_labels_cannot_be_judged_on(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in picture_folder.rglob("*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    assert run(["eval", "knn", "pixels", "--data", str(flat)]) == 2
    assert "no labels" in capsys.readouterr().err


def test_classes_that_the_training_set_lacks_are_named(
    picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, name in (("ellipse", "elipse"), ("rectangle", "rectangle")):
        (tmp_path / "other" / name).mkdir(parents=True)
        for path in (picture_folder / source).iterdir():
            (tmp_path / "other" / name / path.name).write_bytes(path.read_bytes())
    assert run(["eval", "knn", "pixels", "--train", str(picture_folder), "--test", str(tmp_path / "other")]) == 2
    captured = capsys.readouterr()
    assert "class 'elipse'" in captured.err
    assert "did you mean 'ellipse'?" in captured.err
