"""Kept evaluations as tables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslcli.report.judgements import judgements

Make = Callable[..., Path]
Kept = Callable[..., dict[str, Any]]


def test_shares_are_per_cent_with_their_interval_apart(make_run: Make, kept: Kept) -> None:
    (one,) = judgements(make_run("a", evaluations=[kept(0.25, low=0.2, high=0.3)]))
    assert [column.name for column in one.columns] == ["k", "top1", "top5"]
    assert [(cell.value, cell.interval) for cell in one.rows[0]] == [
        ("20", ""),
        ("25.0%", "(20.0 to 30.0%)"),
        ("90.0%", ""),
    ]


def test_facts_and_options_are_told_once_and_details_for_programs_are_not(make_run: Make, kept: Kept) -> None:
    document = kept(0.25, by_seed=[{"seed": 1}], severities=[1, 2], temperature=0.07, curve=list(range(50)))
    (one,) = judgements(make_run("a", evaluations=[document]))
    assert one.facts == {"test": "961", "severities": "1, 2", "temperature": "0.07", "seed": "0", "k": "20"}


def test_what_is_no_evaluation_is_passed_over(make_run: Make, kept: Kept) -> None:
    odd = [[], {"protocol": "knn"}, kept(0.1, results="good"), kept(0.1, results=[1]), kept(0.1, options=[])]
    assert len(list(judgements(make_run("a", evaluations=[*odd, kept(0.5)])))) == 1


def test_an_interval_that_is_none_is_not_shown(make_run: Make, kept: Kept) -> None:
    row = {"k": 1, "top1": 0.5, "top1_interval": ["low", None], "says": None}
    (one,) = judgements(make_run("a", evaluations=[kept(0.5, results=[row])]))
    assert [(cell.value, cell.interval) for cell in one.rows[0]] == [("1", ""), ("50.0%", ""), ("", "")]
