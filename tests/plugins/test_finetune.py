"""The plugin as a whole, and `finetune`, `semi` and `transfer` as a person meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sslcli_finetune.evaluations.transfer import with_k
from sslcli_finetune.options import FinetuneOptions, SemiOptions, TransferOptions

from sslcli.api import Options
from sslcli.cli import run
from sslcli.testing.checks import check_plugin

QUICK = ["--epochs", "1", "--batch-size", "8", "--no-save"]
Judge = Callable[..., dict[str, object]]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def subject(tiny_recipe: Callable[..., Path]) -> str:
    """A tiny backbone at its random start."""
    return f"random:{tiny_recipe()}"


@pytest.fixture
def judge(subject: str, picture_folder: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    """`judge("semi", "--seeds", "2")`: what the command prints as JSON."""

    def called(name: str, *flags: str, data: tuple[str, ...] = (str(picture_folder),)) -> dict[str, object]:
        sets = [word for spec in data for word in ("--data", spec)]
        assert run(["eval", name, subject, *sets, *flags, "--json"]) == 0
        report: dict[str, object] = json.loads(capsys.readouterr().out)
        return report

    return called


def rows(report: dict[str, object]) -> list[dict[str, Any]]:
    """The results of a report."""
    results = report["results"]
    assert isinstance(results, list)
    return results


@pytest.mark.slow
def test_the_plugin_passes_every_check() -> None:
    assert [result for result in check_plugin("finetune") if result.outcome == "failed"] == []


@pytest.mark.parametrize("options", [FinetuneOptions, SemiOptions, TransferOptions])
def test_every_option_says_what_it_is_for(options: type[Options]) -> None:
    from sslcli.describe import describe

    assert [option.name for option in describe(options) if not option.about] == []


def test_a_fine_tuned_network_has_a_row_with_its_interval_and_top_five(judge: Judge) -> None:
    report = judge("finetune", *QUICK)
    (row,) = rows(report)
    assert list(row) == ["top1", "top1_interval", "top5"]
    assert 0 <= row["top1"] <= row["top5"] == 1.0
    assert (report["train"], report["test"], report["left_out"], report["steps"]) == (20, 4, 0, 2)


def test_the_network_that_is_tested_has_learnt_the_classes(judge: Judge, tmp_path: Path) -> None:
    for colour in ("blue", "red"):
        (tmp_path / "colours" / colour).mkdir(parents=True)
        for number in range(10):
            Image.new("RGB", (20, 20), colour).save(tmp_path / "colours" / colour / f"{number}.png")
    found = judge("finetune", *QUICK, "--epochs", "6", "--lr", "0.003", data=(str(tmp_path / "colours"),))
    assert rows(found)[0]["top1"] == 1.0


def test_what_is_done_to_the_pictures_is_talk_on_stderr(
    subject: str, picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "finetune", subject, "--data", str(picture_folder), *QUICK]) == 0
    printed = capsys.readouterr()
    assert "step 2 of 2: loss" in printed.err
    assert "loss" not in printed.out.partition("training")[0]


def test_a_rate_is_chosen_on_a_part_held_out_of_training(judge: Judge) -> None:
    report = judge("finetune", *QUICK, "--lr", "1e-9,0.01")
    assert "lr 1e-09/0.01" not in str(report["training"])
    assert any(f"lr {lr}," in str(report["training"]) for lr in ("1e-09", "0.01"))


def test_a_picture_that_cannot_be_read_is_left_out_and_counted(
    judge: Judge, picture_folder: Path, tmp_path: Path
) -> None:
    for path in picture_folder.rglob("*.png"):
        (tmp_path / "some" / path.parent.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "some" / path.parent.name / path.name).write_bytes(path.read_bytes())
    next((tmp_path / "some").rglob("*.png")).write_bytes(b"no picture")
    report = judge("finetune", *QUICK, "--epochs", "3", data=(str(tmp_path / "some"),))
    assert report["left_out"] == 1


def test_shares_have_a_row_each_with_mean_and_interval_over_draws(judge: Judge) -> None:
    found = rows(judge("semi", *QUICK, "--share", "0.2,1", "--seeds", "2"))
    assert [(row["share"], row["pictures"], row["draws"]) for row in found] == [(0.2, 4, 2), (1.0, 20, 2)]
    assert all(row["top1_interval"][0] <= row["top1"] <= row["top1_interval"][1] for row in found)


def test_a_linear_head_learns_few_pictures_too(judge: Judge) -> None:
    report = judge("semi", "--method", "linear", "--share", "0.5", "--seeds", "1", "--no-save")
    (row,) = rows(report)
    assert report["interval"] == "over test pictures"
    assert "deviation" not in row


@pytest.mark.parametrize("method", ["linear", "knn", "finetune"])
def test_every_set_has_a_row_and_the_last_row_is_the_mean(
    judge: Judge, picture_folder: Path, tmp_path: Path, method: str
) -> None:
    (tmp_path / "flowers").symlink_to(picture_folder)
    flags = QUICK if method == "finetune" else ["--no-save"]
    found = rows(judge("transfer", "--method", method, *flags, data=(str(picture_folder), str(tmp_path / "flowers"))))
    assert [row.get("metric") for row in found] == ["top1", "mean_per_class", None]
    assert found[2]["accuracy"] == pytest.approx((found[0]["accuracy"] + found[1]["accuracy"]) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "pixels", "--data", "demo"], "pixels has no backbone"),
        (["finetune", "random:mae/tiny", "--data", "demo", "--protocol", "mee"], "--protocol mee"),
        (["finetune", "random:mae/tiny", "--data", "demo", "--lr", "0"], "--lr 0"),
        (["finetune", "random:mae/tiny", "--data", "demo", "--accumulation", "100"], "64 pictures at once"),
        (["finetune", "random:relicv2/tiny", "--data", "demo", "--vector", "fresh"], "no last norm to begin anew"),
        (["finetune", "random:relicv2/tiny", "--data", "demo", "--protocol", "mugs"], "no CLS token"),
        (["semi", "random:mae/tiny", "--data", "demo", "--method", "linear", "--lr", "1"], "--lr: nothing of the"),
        (["semi", "random:mae/tiny", "--data", "demo", "--share", "0,0.1"], "--share"),
        (["transfer", "pixels", "--data", "demo", "--epochs", "3"], "--epochs: nothing of the network"),
        (["transfer", "pixels", "--data", "demo", "--data", "nothing"], "nothing"),
        (["transfer", "pixels", "--data", "demo", "--data", "demo"], "--data demo is named twice"),
        (["transfer", "pixels", "--data", "demo", "--method", "knn", "--k", "3000"], "k = 3000 is more than the 2713"),
        (["transfer", "pixels", "--data", "demo", "--k", "5"], "--k: no neighbours vote with --method linear"),
        (["transfer", "pixels", "--data", "demo", "--protocol", "mae"], "--protocol: nothing of the network"),
    ],
)
def test_mistakes_cost_exit_code_2_and_a_line_that_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", *arguments, "--no-save"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""


def test_a_folder_that_is_not_empty_is_refused_before_training(
    subject: str, picture_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "finetune", subject, "--data", str(picture_folder), "--keep", str(picture_folder)]
    assert run(arguments) == 2
    printed = capsys.readouterr().err
    assert "is there already" in printed
    assert "loss" not in printed


def test_sets_share_the_usual_k_as_far_as_the_smallest_goes(judge: Judge) -> None:
    assert judge("transfer", "--method", "knn", "--no-save")["k"] == 20
    with_few = TransferOptions(method="knn")
    assert (with_k(with_few, [50, 12]).k, with_k(with_few, [50, 30]).k) == (12, 20)


def test_a_network_that_cannot_be_kept_in_the_end_does_not_cost_the_numbers(
    subject: str, picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def full(path: Path, write: Callable[[Path], object]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sslcli_finetune.keeping.write_whole", full)
    flags = ["--data", str(picture_folder), *QUICK, "--keep", str(tmp_path / "kept"), "--json"]
    assert run(["eval", "finetune", subject, *flags]) == 0
    printed = capsys.readouterr()
    assert "top1" in json.loads(printed.out)["results"][0]
    assert "warning: cannot keep the network in" in printed.err


@pytest.mark.parametrize("length", [["--epochs", "1"], ["--steps", "2"]])
def test_a_warm_up_that_is_cut_is_told_as_it_was(judge: Judge, length: list[str]) -> None:
    assert ", warmup 0.5, " in str(judge("finetune", *QUICK[2:], *length)["training"])
