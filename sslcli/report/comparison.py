"""Runs side by side: their kept evaluations, what they noted last, and where their recipes differ.

Numbers stand in one table where protocol, pictures and options are the same. A share with an interval is an accuracy:
the greatest of its column is the best, and those whose intervals overlap with it may be as good.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.evaluation.opening import document_at
from sslcli.report import notes
from sslcli.report.described import in_words, leaves
from sslcli.report.judgements import ends_of, legible
from sslcli.training.runs import RECIPE

ASIDE = ("seed",)  # an option that tables are not told apart by

PICTURES = ("--data", "--train", "--test")  # flags that say what to judge on


@dataclass(frozen=True)
class Compared:
    """A run with what stands in its folder."""

    run: str
    name: str
    state: notes.State
    recipe: Mapping[str, Any]
    noted: Mapping[str, float]  # last values by name
    kept: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Value:
    """A number of a run, and how it stands among those of the others."""

    value: Any
    interval: tuple[float, float] | None = None
    best: bool = False
    near: bool = False  # not the best, but their intervals overlap


@dataclass(frozen=True)
class Column:
    """A metric of a row of results, such as `top1` at `{"k": 20}`."""

    metric: str
    row: Mapping[str, Any]
    share: bool

    @property
    def name(self) -> str:
        """What stands over the column."""
        parts = [f"{key}={value}" if isinstance(value, int) else str(value) for key, value in self.row.items()]
        return " ".join([*parts, self.metric])


@dataclass
class Table:
    """The numbers of one protocol on the same pictures by the same options."""

    protocol: str
    data: str
    settings: Mapping[str, Any]
    columns: list[Column] = field(default_factory=list)
    rows: dict[str, list[Value | None]] = field(default_factory=dict)  # by run
    commands: dict[str, str] = field(default_factory=dict)  # by run without numbers: what makes them


def read_run(run: str) -> Compared:
    """A run to compare. Raises UserError where RUN is no folder of one."""
    folder = expand(run)
    if not (folder / RECIPE).is_file():
        raise UserError(
            f"{run} is no run: only runs keep their evaluations", f"name folders that hold a {RECIPE}, as in runs/mine"
        )
    recipe = document_at(folder / RECIPE)
    rows, _ = notes.read_lines(folder)
    state = notes.state_of(folder, recipe)
    name = str(recipe.get("name") or folder.name)
    return Compared(run, name, state, recipe, notes.last_values(rows), list(legible(folder)))


def tables_of(runs: Sequence[Compared], protocol: str = "") -> list[Table]:
    """A table for each protocol, pictures and options; `protocol` is one, or the beginning of some."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        for document in run.kept:
            if str(document["protocol"]).startswith(protocol):
                found.setdefault(sameness(document), {})[run.run] = document  # the newest comes last
    return [table_of(documents, runs) for documents in found.values()]


def sameness(document: Mapping[str, Any]) -> str:
    """What two evaluations must have in common for their numbers to be compared."""
    said = [document["protocol"], document.get("data"), settings_of(document)]
    return json.dumps(said, sort_keys=True, default=str)


def settings_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The options that every row was made by; those that tell rows apart stand in the rows."""
    within = {key for row in document["results"] for key in row}
    return {k: v for k, v in document.get("options", {}).items() if k not in within and k not in ASIDE}


def table_of(documents: Mapping[str, Mapping[str, Any]], runs: Sequence[Compared]) -> Table:
    """The numbers of all runs that were judged alike."""
    judged, first = next(iter(documents.items()))
    recipe = next(run.recipe for run in runs if run.run == judged)
    table = Table(str(first["protocol"]), str(first.get("data", "")), settings_of(first))
    table.columns = list(columns_of(documents.values()))
    numbers = {run: [value_at(document, column) for column in table.columns] for run, document in documents.items()}
    ranked = [list(ranks(values, column)) for values, column in zip(zip(*numbers.values()), table.columns)]
    placed = dict(zip(numbers, zip(*ranked)))
    for run in runs:
        table.rows[run.run] = list(placed.get(run.run, [None] * len(table.columns)))
        if run.run not in placed:
            table.commands[run.run] = shlex.join(
                [*command_for(run.run, first), *same_pictures(first, recipe, run.recipe)]
            )
    return table


def columns_of(documents: Iterable[Mapping[str, Any]]) -> Iterator[Column]:
    """Every number of every row, those with an interval first: they are what was judged."""
    seen: dict[str, tuple[bool, Column]] = {}
    for document in documents:
        shares = document.get("shares", [])
        for row in document["results"]:
            named = name_of(row)
            for metric, value in row.items():
                if metric in named or metric.endswith("_interval") or not isinstance(value, int | float):
                    continue
                key = json.dumps([named, metric], default=str)
                seen.setdefault(key, (ends_of(row, metric) is None, Column(metric, named, metric in shares)))
    yield from (column for _, column in sorted(seen.values(), key=lambda entry: entry[0]))


def name_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a row from the others: the whole numbers and words that it begins with."""
    named: dict[str, Any] = {}
    for key, value in row.items():
        if not isinstance(value, int | str) or f"{key}_interval" in row:
            break
        named[key] = value
    return named


def value_at(document: Mapping[str, Any], column: Column) -> Value | None:
    """The number of a column, in the row of its name."""
    for row in document["results"]:
        if name_of(row) == column.row and isinstance(row.get(column.metric), int | float):
            return Value(row[column.metric], ends_of(row, column.metric))
    return None


def ranks(values: Sequence[Value | None], column: Column) -> Iterator[Value | None]:
    """The values of a column, the best and those near it marked: of shares with intervals, where there are several."""
    judged = [one for one in values if one is not None and one.interval is not None]
    if not column.share or len(judged) < 2:
        yield from values
        return
    best = max(judged, key=lambda one: one.value)
    for one in values:
        if one is None or one.interval is None or best.interval is None:
            yield one
        else:
            tops = one.value == best.value
            yield Value(one.value, one.interval, tops, not tops and one.interval[1] >= best.interval[0])


def command_for(run: str, document: Mapping[str, Any]) -> list[str]:
    """The words of the command that made an evaluation, for another run."""
    try:
        words = shlex.split(str(document.get("command", "")))
    except ValueError:
        words = []
    if document.get("run") not in words[3:]:  # behind `sslcli eval NAME`, whose NAME a run may share
        return ["sslcli", "eval", str(document["protocol"]).split(",")[0], run]
    return [*words[:3], *(run if word == document["run"] else word for word in words[3:])]


def same_pictures(document: Mapping[str, Any], judged: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The flags that another run needs to be judged on these pictures; none where they are said, or are its own too."""
    if any(word.partition("=")[0] in PICTURES for word in str(document.get("command", "")).split()):
        return []
    own = own_pictures(judged, str(document.get("data", "")))
    return [] if own == own_pictures(other, str(document.get("data", ""))) else own


def own_pictures(recipe: Mapping[str, Any], said: str) -> list[str]:
    """The flags for the pictures of a recipe, those of its probe or of its training, that an evaluation tells of."""
    probe, data = recipe.get("probe", {}), recipe.get("data", {})
    apart = {"--train": probe.get("train"), "--test": probe.get("test")}
    for flags in ({"--data": probe.get("data")}, apart, {"--data": data.get("train")}):
        if all(spec and str(spec) in said for spec in flags.values()):
            return [word for flag, spec in flags.items() for word in (flag, str(spec))]
    return []


def differences(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """The keys of the recipes that are not the same in all of them, with the value of each; None where one lacks it."""
    flat = [dict(leaves(run.recipe)) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = {key: [one.get(key) for one in flat] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def condensed(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """The differences for a person: a table that some recipes lack as a whole is one row, with its name."""
    flat = [dict(leaves(run.recipe)) for run in runs]
    rows: dict[str, list[Any]] = {}
    for key, values in differences(runs).items():
        lacking = missing_table(key, flat)
        if lacking:
            rows[lacking] = [title_of(lacking, one) for one in flat]
        having = [value for value in values if value is not None]
        if not lacking or any(value != having[0] for value in having):
            rows[key] = values
    return rows


def missing_table(key: str, flat: Sequence[Mapping[str, Any]]) -> str:
    """The outermost table around a key that some recipe has nothing of; empty where all have some of each."""
    places = [place for place, letter in enumerate(key) if letter in ".[" and "[" not in key[:place]]
    ends = key.find("].") + 1
    tables = [key[:place] for place in places if key[place] == "."] + ([key[:ends]] if ends else [])
    return next((table for table in tables if any(not has(table, one) for one in flat)), "")


def has(table: str, flat: Mapping[str, Any]) -> bool:
    """Whether a recipe has a table."""
    return any(key.startswith((f"{table}.", f"{table}[")) or key == table for key in flat)


def title_of(table: str, flat: Mapping[str, Any]) -> str | None:
    """What a recipe has for a table: the plugin that it names, or that it is there."""
    if not has(table, flat):
        return None
    weight = f"weight {in_words(flat[f'{table}.weight'])}" if f"{table}.weight" in flat else "yes"
    return str(flat.get(f"{table}.name") or flat.get(f"{table}.augmentation") or weight)
