"""Runs side by side: which numbers share a table, which is best, where recipes differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslcli.errors import UserError
from sslcli.report.comparison import (
    command_for,
    condensed,
    differences,
    own_pictures,
    read_run,
    same_pictures,
    tables_of,
)

Make = Callable[..., Path]
Kept = Callable[..., dict[str, Any]]


def test_the_best_accuracy_is_marked_and_those_whose_intervals_overlap(make_run: Make, kept: Kept) -> None:
    given = {"a": (0.5, 0.45, 0.55), "b": (0.46, 0.41, 0.51), "c": (0.3, 0.25, 0.35)}
    runs = [
        read_run(str(make_run(name, evaluations=[kept(value, low=low, high=high)])))
        for name, (value, low, high) in given.items()
    ]
    (table,) = tables_of(runs)
    firsts = [values[0] for values in table.rows.values()]
    assert [(one.value, one.best, one.near) for one in firsts if one] == [
        (0.5, True, False),
        (0.46, False, True),
        (0.3, False, False),
    ]


def test_numbers_without_interval_are_never_marked(make_run: Make, kept: Kept) -> None:
    runs = [read_run(str(make_run(name, evaluations=[kept(0.5)]))) for name in "ab"]
    (table,) = tables_of(runs)
    marked = {
        column.name: [one.best for one in values if one] for column, *values in zip(table.columns, *table.rows.values())
    }
    assert marked == {"k=20 top1": [True, True], "k=20 top5": [False, False]}


def test_other_pictures_or_options_make_another_table_and_other_seeds_do_not(make_run: Make, kept: Kept) -> None:
    documents = [
        kept(0.5),
        kept(0.4, options={"seed": 3, "k": [20]}),
        kept(0.3, data="other"),
        kept(0.2, options={"temperature": 0.1}),
    ]
    runs = [read_run(str(make_run(f"r{n}", evaluations=[one]))) for n, one in enumerate(documents)]
    assert [sorted(set(table.rows) - set(table.commands)) for table in tables_of(runs)] == [
        [runs[0].run, runs[1].run],
        [runs[2].run],
        [runs[3].run],
    ]


def test_of_two_evaluations_of_one_run_the_newest_counts(make_run: Make, kept: Kept) -> None:
    later = kept(0.4, time="2026-02-02T03:04:05+00:00", options={"seed": 1})
    (table,) = tables_of([read_run(str(make_run("a", evaluations=[later, kept(0.5, options={"seed": 0})])))])
    ((value, *_),) = table.rows.values()
    assert value is not None
    assert value.value == 0.4


def test_a_run_that_was_not_judged_so_gets_the_command_that_does_it(make_run: Make, kept: Kept) -> None:
    runs = [read_run(str(make_run("a", evaluations=[kept(0.5)]))), read_run(str(make_run("b")))]
    (table,) = tables_of(runs)
    assert table.commands == {runs[1].run: f"sslcli eval knn {runs[1].run} --k 20"}
    assert table.rows[runs[1].run] == [None, None]


@pytest.mark.parametrize("command", ["", "python judge.py", "sslcli eval 'broken"])
def test_a_command_that_names_no_run_is_made_from_the_protocol(command: str) -> None:
    assert command_for("runs/b", {"protocol": "knn", "run": "x", "command": command}) == [
        *("sslcli", "eval", "knn", "runs/b")
    ]


def test_a_run_that_is_called_like_its_evaluation_gets_a_command_too() -> None:
    document = {"protocol": "knn", "run": "knn", "command": "sslcli eval knn knn --k 20"}
    assert command_for("b", document) == ["sslcli", "eval", "knn", "b", "--k", "20"]


def test_a_run_of_other_pictures_is_told_to_be_judged_on_those_of_the_table() -> None:
    document = {"data": "classes learnt from demo@train (9 pictures)", "command": "sslcli eval knn a --k 20"}
    mine, other = {"data": {"train": "demo"}}, {"data": {"train": "./photos"}}
    assert same_pictures(document, mine, other) == ["--data", "demo"]
    assert same_pictures(document, mine, mine) == []
    assert same_pictures(document | {"command": "sslcli eval knn a --data demo"}, mine, other) == []


@pytest.mark.parametrize(
    ("probe", "said", "flags"),
    [
        ({"data": "labelled"}, "no test split in labelled", ["--data", "labelled"]),
        ({"data": "labelled"}, "photos, labels not read", ["--data", "photos"]),
        ({"train": "one", "test": "two"}, "learnt from one, tested on two", ["--train", "one", "--test", "two"]),
        ({}, "elsewhere", []),
    ],
)
def test_the_pictures_of_a_recipe_are_those_that_an_evaluation_tells_of(
    probe: dict[str, str], said: str, flags: list[str]
) -> None:
    assert own_pictures({"probe": probe, "data": {"train": "photos"}}, said) == flags


def test_rows_are_matched_by_the_words_and_numbers_they_begin_with(make_run: Make, kept: Kept) -> None:
    rows = [{"corruption": name, "accuracy": value} for name, value in (("fog", 0.2), ("snow", 0.1))]
    runs = [
        read_run(str(make_run("a", evaluations=[kept(0, results=rows)]))),
        read_run(str(make_run("b", evaluations=[kept(0, results=rows[1:])]))),
    ]
    (table,) = tables_of(runs)
    assert [column.name for column in table.columns] == ["fog accuracy", "snow accuracy"]
    assert [one and one.value for one in table.rows[runs[1].run]] == [None, 0.1]


def test_a_protocol_chooses_by_its_beginning(make_run: Make, kept: Kept) -> None:
    run = read_run(str(make_run("a", evaluations=[kept(0.5), kept(0.4, protocol="linear")])))
    assert [table.protocol for table in tables_of([run], "lin")] == ["linear"]
    assert tables_of([run], "none") == []


def test_only_keys_that_differ_are_told(make_run: Make) -> None:
    runs = [read_run(str(make_run(name, ratio=ratio))) for name, ratio in (("a", 0.75), ("b", 0.5))]
    assert differences(runs) == {"name": ["a", "b"], "loss[mae].mask_ratio": [0.75, 0.5]}


def test_a_table_that_some_recipes_lack_is_one_row_for_a_person(make_run: Make) -> None:
    first, second = make_run("a"), make_run("b")
    text = (second / "recipe.toml").read_text().replace('name = "mae"', 'name = "mugs.group"')
    (second / "recipe.toml").write_text(text + '[routing]\nname = "moce.cluster"\nexperts = 4\n')
    runs = [read_run(str(first)), read_run(str(second))]
    assert condensed(runs) == {
        "name": ["a", "b"],
        "loss[mae]": ["weight 0.5", None],
        "loss[mugs.group]": [None, "weight 0.5"],
        "routing": [None, "moce.cluster"],
    }


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no run: only runs keep their evaluations"):
        read_run(str(tmp_path))
