"""What a run noted of itself, also where files are young, broken or missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslcli.report.made import made_of, moment
from sslcli.report.notes import last_values, measured, read_lines, state_of

Make = Callable[..., Path]
TRAIN = {"train": {"epochs": 4.0}}


def test_lines_that_are_broken_or_say_no_step_are_counted_and_passed_over(make_run: Make) -> None:
    run = make_run("a", lines=[{"step": 1, "loss": 2.0}, '{"step": 2, "lo', "[1, 2]", {"loss": 1.0}, ""])
    assert read_lines(run) == ([{"step": 1, "loss": 2.0}], 3)


def test_a_run_without_metrics_has_no_lines(tmp_path: Path) -> None:
    assert read_lines(tmp_path) == ([], 0)


def test_what_was_measured_is_told_by_first_last_least_and_greatest() -> None:
    rows: list[dict[str, Any]] = [{"step": n, "epoch": n / 2, "loss": loss} for n, loss in enumerate((3.0, 1.0, 2.0))]
    (loss,) = measured([*rows, {"step": 3, "loss": float("nan"), "note": "words"}])
    assert (loss.name, loss.times, loss.first, loss.last, loss.least, loss.greatest) == ("loss", 3, 3.0, 2.0, 1.0, 3.0)


def test_the_last_values_are_those_of_the_last_line_that_has_them() -> None:
    rows = [{"step": 1, "epoch": 0.5, "loss": 3.0, "knn_top1": 0.2}, {"step": 2, "epoch": 1.0, "loss": 2.0}]
    assert last_values(rows) == {"step": 2, "epoch": 1.0, "loss": 2.0, "knn_top1": 0.2}


def test_a_run_that_handed_its_backbone_over_is_finished(make_run: Make) -> None:
    state = state_of(make_run("a", card={"step": 40, "epoch": 4.0}, lines=[{"step": 40}]), TRAIN)
    assert (state.finished, state.step, state.epoch) == (True, 40, 4.0)


def test_a_run_that_trains_on_after_its_hand_over_is_not_finished(make_run: Make) -> None:
    assert not state_of(make_run("a", card={"step": 40}, lines=[{"step": 60, "epoch": 6.0}]), TRAIN).finished


@pytest.mark.parametrize("card", [[], {}, {"step": "forty"}])
def test_a_card_of_another_shape_finishes_nothing(make_run: Make, card: Any) -> None:
    assert not state_of(make_run("a", card=card, lines=[{"step": 40}]), TRAIN).finished


def test_a_run_on_its_way_says_how_far_it_came_and_what_is_saved(make_run: Make) -> None:
    run = make_run("a", lines=[{"step": 10, "epoch": 1.0}])
    assert state_of(run, TRAIN).said == "not finished: 1 of 4 epochs were noted, and it has no checkpoint yet"
    (run / "checkpoints" / "step-00000010").mkdir(parents=True)
    assert state_of(run, TRAIN).said.endswith("its newest checkpoint is step-00000010")


def test_an_imported_run_says_where_it_came_from(make_run: Make) -> None:
    run = make_run("a", environment={"imported": {"file": "a.pth", "importer": "mugs"}})
    assert state_of(run, {}).said == "imported from a.pth by the importer mugs"


def test_an_environment_of_another_shape_tells_nothing_and_breaks_nothing(make_run: Make) -> None:
    odd = {"data": [1], "plugins": "many", "sessions": [3, {"started": 5, "versions": None}], "imported": 1}
    made = made_of(make_run("a", environment=odd))
    assert (made.samples, made.plugins, made.origin) == ("", (), {})
    assert [(session.started, session.facts["device"]) for session in made.sessions] == [("5", "not noted")]


def test_a_time_is_told_to_the_minute_and_other_words_are_left() -> None:
    assert moment("2026-01-02T03:04:05+01:00") == "2026-01-02 02:04 UTC"
    assert moment("yesterday") == "yesterday"
