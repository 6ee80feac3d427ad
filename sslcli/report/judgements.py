"""The evaluations that are kept beside a run, as tables: a number, its interval, and all that made it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslcli.evaluation.reports import cell, headers_of, kept_reports, plainly
from sslcli.report.made import moment

HEAD = ("protocol", "run", "data", "results", "judged", "shares", "options", "command", "time", "sslcli")
LONGEST = 8  # entries of a fact that is a list; longer ones are for programs


@dataclass(frozen=True)
class Cell:
    """A number or words, and the interval behind it."""

    value: str
    interval: str = ""


@dataclass(frozen=True)
class Column:
    """What a column holds, and whether it is numbers."""

    name: str
    numeric: bool


@dataclass(frozen=True)
class Judgement:
    """One kept evaluation, laid out."""

    protocol: str
    judged: str
    data: str
    columns: list[Column]
    rows: list[list[Cell]]
    facts: dict[str, str]  # sizes and options
    command: str
    time: str


def judgements(run: Path) -> Iterator[Judgement]:
    """Every kept evaluation that can be laid out."""
    yield from (laid_out(document) for document in legible(run))


def legible(run: Path) -> Iterator[dict[str, Any]]:
    """The kept evaluations whose results are rows, and whose other parts are what they should be."""
    for document in kept_reports(run):
        results = document["results"]
        rows = isinstance(results, list) and results and all(isinstance(row, dict) for row in results)
        if rows and isinstance(document.get("options", {}), dict) and isinstance(document.get("shares", []), list):
            yield document


def laid_out(document: Mapping[str, Any]) -> Judgement:
    """The parts of a kept evaluation as a reader wants them."""
    results, shares = document["results"], document.get("shares", [])
    names = headers_of(results)
    facts = {name: fact for name, fact in document.items() if name not in HEAD and brief(fact)}
    told = {name.replace("_", " "): plainly(fact) for name, fact in (facts | document.get("options", {})).items()}
    return Judgement(
        protocol=str(document["protocol"]),
        judged=str(document.get("judged", "")),
        data=str(document.get("data", "")),
        columns=[Column(name, any(isinstance(row.get(name), int | float) for row in results)) for name in names],
        rows=[[cell_of(row, name, name in shares) for name in names] for row in results],
        facts=told,
        command=str(document.get("command", "")),
        time=moment(str(document["time"])),
    )


def brief(fact: Any) -> bool:
    """Whether a fact is a word, a number, or a few of them: not the details that are for programs."""
    if isinstance(fact, list):
        return len(fact) <= LONGEST and not any(isinstance(part, list | dict) for part in fact)
    return not isinstance(fact, dict) and fact not in ("", None)


def cell_of(row: Mapping[str, Any], name: str, share: bool) -> Cell:
    """A value of a row with its interval, if it has one of two numbers."""
    value = row.get(name)
    shown = cell(value, None, share)
    ends = ends_of(row, name)
    if ends is None or not isinstance(value, float):
        return Cell(shown)
    return Cell(shown, cell(value, ends, share).removeprefix(shown).strip())


def ends_of(row: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """The ends of a value's interval."""
    ends = row.get(f"{name}_interval")
    if isinstance(ends, list) and len(ends) == 2 and all(isinstance(end, int | float) for end in ends):
        return float(ends[0]), float(ends[1])
    return None
