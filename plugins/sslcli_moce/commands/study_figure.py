"""The figure of `sslcli moce study`: tasks from left to right, for every model a marker with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from sslcli.evaluation.style import FAINT, INK, canvas
from sslcli_moce.commands.study_plan import ALL, MOCE, START, A, B
from sslcli_moce.commands.study_report import MEAN, NAMES

LOOKS = {  # colour and marker; told apart in grey and by most who see colours otherwise
    START: ("#9a9a9a", "D"),
    ALL: ("#222222", "s"),
    A: ("#0072b2", "<"),
    B: ("#009e73", ">"),
    MOCE: ("#d55e00", "o"),
}
APART = 0.13  # between two models, of the distance of two tasks
WIDE_OF_TASK, TALL = 1.5, 3.4  # inches


def study_figure(report: Mapping[str, Any]) -> Any:
    """A matplotlib figure: a panel for each protocol, shares in per cent."""
    columns = list(dict.fromkeys(entry["task"] for entry in report["scores"]))
    models = [name for name in LOOKS if any(entry["model"] == name for entry in report["scores"])]
    panels = list(dict.fromkeys(entry["protocol"] for entry in report["scores"]))
    width = max(WIDE_OF_TASK * len(columns) + 1.5, 6.0)
    figure, places = canvas(len(panels), height=TALL * len(panels) + 0.6, width=width, squeeze=False)
    for axes, protocol in zip(places[:, 0], panels):
        own = [entry for entry in report["scores"] if entry["protocol"] == protocol]
        draw_panel(axes, own, columns, models)
        axes.set_title(f"{NAMES[protocol]}, test pictures right", loc="left", fontsize=10, color=INK)
    handles, labels = places[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(models), frameon=False, fontsize=9)
    return figure


def draw_panel(axes: Any, scores: Sequence[Mapping[str, Any]], columns: Sequence[str], models: Sequence[str]) -> None:
    """The scores of one protocol."""
    for number, model in enumerate(models):
        colour, marker = LOOKS[model]
        own = {entry["task"]: entry for entry in scores if entry["model"] == model}
        shift = (number - (len(models) - 1) / 2) * APART
        places = [column + shift for column, task in enumerate(columns) if task in own]
        entries = [own[task] for task in columns if task in own]
        values = [entry["value"] for entry in entries]
        below = [entry["value"] - entry["low"] for entry in entries]
        above = [entry["high"] - entry["value"] for entry in entries]
        axes.errorbar(
            places, values, yerr=(below, above), fmt=marker, color=colour, markersize=5, elinewidth=1.2, label=model
        )
    dress(axes, columns)


def dress(axes: Any, columns: Sequence[str]) -> None:
    """Names of the tasks, faint lines between them, per cent; the mean stands apart."""
    axes.set_xticks(range(len(columns)), [f"mean of {len(columns) - 1}" if name == MEAN else name for name in columns])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for column in range(1, len(columns)):
        darker = columns[column] == MEAN
        axes.axvline(column - 0.5, color=INK if darker else FAINT, linewidth=0.8)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
