"""What is asked of an evaluation: a report of plain, finite numbers, the same twice, that says how it was judged."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from sslcli.api import Offer
from sslcli.evaluation.reports import Report, cells
from sslcli.testing.judging import JudgingCase, judge_pixels, prepare_case
from sslcli.testing.results import expect


class EvaluationCase:
    """An evaluation, and what it found."""

    def __init__(self, case: JudgingCase) -> None:
        self.case = case
        self.report: Any = case.made()


def prepare(offer: Offer) -> EvaluationCase:
    """The evaluation, called once on a tiny backbone at its random start."""
    return EvaluationCase(prepare_case(offer))


def checks_of(offer: Offer) -> tuple[Callable[[EvaluationCase], None], ...]:
    """The checks of an evaluation, in order."""
    return (
        returns_a_report,
        finds_something,
        gives_plain_finite_numbers,
        names_shares_that_lie_between_0_and_1,
        finds_the_same_twice,
        judges_pixels_or_refuses_them_in_words,
    )


def returns_a_report(case: EvaluationCase) -> None:
    """`sslcli.evaluation.reports.Report`, which says what was judged on what."""
    found = case.report
    expect(isinstance(found, Report), f"it returns a {type(found).__name__}, not a sslcli.evaluation.reports.Report")
    expect(found.protocol and found.judged and found.data, "protocol, judged or data say nothing")


def finds_something(case: EvaluationCase) -> None:
    """At least one row, and all rows fit a table."""
    expect(bool(case.report.results), "the report has no results")
    headers, rows = cells(case.report.document())
    expect(all(len(row) == len(headers) for row in rows), "rows do not fit under their headers")


def gives_plain_finite_numbers(case: EvaluationCase) -> None:
    """The report is JSON, without tensors, NaN or infinity."""
    try:
        json.dumps(case.report.document())
    except TypeError as error:
        expect(False, f"the report is no plain data: {error}")
    bad = [value for value in numbers_in(case.report.document()) if not math.isfinite(value)]
    expect(not bad, f"the report has a number that is not finite: {bad[:1]}")


def names_shares_that_lie_between_0_and_1(case: EvaluationCase) -> None:
    """Shares are told to a person in per cent."""
    for row in case.report.results:
        wrong = [name for name in case.report.shares if name in row and not 0 <= row[name] <= 1]
        expect(not wrong, f"{wrong[:1]} is named a share, and is not between 0 and 1")


def finds_the_same_twice(case: EvaluationCase) -> None:
    """All chance comes from `options.seed`."""
    again = case.case.made(chance=1)
    expect(json.dumps(timeless(again)) == json.dumps(timeless(case.report)), "two calls find different numbers")


def judges_pixels_or_refuses_them_in_words(case: EvaluationCase) -> None:
    """Raw pixels have vectors and nothing else: what needs more raises UserError."""
    judge_pixels(case.case)


def timeless(report: Report) -> list[Any]:
    """The rows, less what a clock says."""
    return [{name: value for name, value in row.items() if "second" not in name} for row in report.results]


def numbers_in(data: Any) -> Iterator[float]:
    """Every number of plain data."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list | tuple):
        for part in data:
            yield from numbers_in(part)
    elif isinstance(data, float):
        yield data
