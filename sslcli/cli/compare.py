"""`sslcli compare RUN RUN`: kept evaluations, last metrics and recipes side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import UserError
from sslcli.words import counted

if TYPE_CHECKING:
    from sslcli.report.comparison import Column, Compared, Table, Value

MOST = 8  # columns of numbers that a person is shown; --json has all
LONGEST = 40  # letters of a value of a recipe
LAST = ("loss", "lr")  # what is shown of the last metrics, besides the accuracies of the probe
NOTHING = "-"


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    protocol: Annotated[
        str, typer.Option(metavar="NAME", help="Only evaluations whose protocol begins so, such as knn.")
    ] = "",
    json: AsJson = False,
) -> None:
    """Lay the evaluations and recipes of runs side by side.

    One table for each protocol on the same pictures by the same options, a row a run. '*' marks the best accuracy of
    a column, '~' those whose intervals overlap with its own: they may be as good. Then where the recipes differ.

    \b
    sslcli compare runs/mae runs/dino
    sslcli compare runs/* --protocol knn
    sslcli compare runs/mae runs/dino --json
    """
    from sslcli.report.comparison import condensed, differences, read_run, tables_of

    compared = [read_run(run) for run in dict.fromkeys(runs)]
    tables = tables_of(compared, protocol)
    if protocol and not tables:
        raise UserError(
            f"no evaluation of these runs has a protocol that begins with '{protocol}'",
            protocols_of(compared) or f"judge them first: sslcli eval {protocol} {compared[0].run}",
        )
    if json:
        print_json(document(compared, tables, differences(compared)))
        return
    show_runs(compared)
    for one in tables:
        show_table(one, tables)
    show_differences(compared, condensed(compared))
    tell_missing(compared, tables)


def protocols_of(runs: "Sequence[Compared]") -> str:
    """The protocols that there are."""
    names = dict.fromkeys(str(one["protocol"]) for run in runs for one in run.kept)
    return f"there are: {'; '.join(names)}" if names else ""


def show_runs(runs: "Sequence[Compared]") -> None:
    """What each run is, and what it noted last."""
    noted = dict.fromkeys(name for run in runs for name in run.noted)
    shown = [name for name in noted if name in LAST or name.startswith("knn_top1")]
    rows = [[run.run, run.name, *age(run), *(last(run.noted.get(name)) for name in shown)] for run in runs]
    table(rows, ("run", "recipe", "state", "step", "epoch", *(f"last {name}" for name in shown)))


def age(run: "Compared") -> list[str]:
    """Whether a run is finished or was imported, and how far it has come."""
    state = run.state
    said = "unfinished" if not state.finished else "imported" if state.step is None else "finished"
    return [said, last(state.step), last(state.epoch)]


def last(value: float | None) -> str:
    """A number as a person reads it."""
    if value is None:
        return NOTHING
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def show_table(one: "Table", others: "Sequence[Table]") -> None:
    """One protocol on the same pictures: a row a run."""
    alike = [other for other in others if (other.protocol, other.data) == (one.protocol, one.data)]
    by = ", ".join(f"{name} {value}" for name, value in one.settings.items()) if len(alike) > 1 else ""
    print(f"\n{one.protocol}: {one.data}" + (f" ({by})" if by else ""))
    columns = one.columns[:MOST]
    rows = [[run, *(written(*cell) for cell in zip(values, columns))] for run, values in one.rows.items()]
    table(rows, ("run", *(column.name for column in columns)))
    if len(one.columns) > MOST:
        print(f"and {counted(len(one.columns) - MOST, 'more column')}, with --json")


def written(value: "Value | None", column: "Column") -> str:
    """A number with its interval and its mark."""
    from sslcli.evaluation.reports import cell

    if value is None:
        return NOTHING
    mark = " *" if value.best else " ~" if value.near else ""
    return cell(value.value, value.interval, column.share) + mark


def show_differences(runs: "Sequence[Compared]", differing: Mapping[str, Sequence[Any]]) -> None:
    """Where the recipes differ: a row a key, or a table that some lack."""
    if len(runs) < 2:
        return
    if not differing:
        print("\nthe recipes are the same")
        return
    print("\nrecipes")
    table([[key, *map(short, values)] for key, values in differing.items()], ("key", *(run.run for run in runs)))


def short(value: Any) -> str:
    """A value of a recipe in a few letters; a dash where a recipe lacks the key."""
    from sslcli.report.described import in_words

    words = NOTHING if value is None else in_words(value)
    return words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…"


def tell_missing(runs: "Sequence[Compared]", tables: "Sequence[Table]") -> None:
    """Which runs lack which evaluations, and the commands that make them."""
    for one in tables:
        for run, command in one.commands.items():
            talk(f"{run} was not judged so; judge it by: {command}")
    if not tables:
        talk(f"no evaluation is kept beside these runs; judge each by: sslcli eval knn {runs[0].run}")


def document(
    runs: "Sequence[Compared]", tables: "Sequence[Table]", differing: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """The same for programs, whole."""
    names = [run.run for run in runs]
    return {
        "runs": [
            {"run": run.run, "recipe": run.name, "state": run.state.said, "finished": run.state.finished}
            | {"step": run.state.step, "epoch": run.state.epoch, "last": dict(run.noted), "evaluations": len(run.kept)}
            for run in runs
        ],
        "tables": [table_document(one) for one in tables],
        "differences": {key: dict(zip(names, values)) for key, values in differing.items()},
        "missing": [{"run": run, "command": line} for one in tables for run, line in one.commands.items()],
    }


def table_document(one: "Table") -> dict[str, Any]:
    """A table as plain data: each number with its column and run."""
    return {
        "protocol": one.protocol,
        "data": one.data,
        "settings": dict(one.settings),
        "values": [
            {"run": run, "row": dict(column.row), "metric": column.metric, "value": value.value}
            | ({"interval": list(value.interval)} if value.interval else {})
            | {"best": value.best, "near": value.near}
            for run, values in one.rows.items()
            for column, value in zip(one.columns, values)
            if value is not None
        ],
    }
