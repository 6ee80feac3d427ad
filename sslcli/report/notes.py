"""What a run noted of itself while it was trained: `metrics.jsonl`, `environment.json`, `config.json`, its checkpoints.

A run may be young, broken off, imported or half lost: what is not there is left out, and nothing here raises for it.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslcli.disk import read_json
from sslcli.nn.stored import CONFIG, WEIGHTS
from sslcli.training.checkpoint import Checkpoints
from sslcli.training.runs import ENVIRONMENT, IMPORTED, METRICS
from sslcli.words import counted

PLACES = ("step", "epoch")  # where a line of metrics.jsonl stands; everything else in it was measured


@dataclass(frozen=True)
class Measured:
    """A number that was noted again and again: how often, its first and last value, the least and the greatest."""

    name: str
    times: int
    first: float
    last: float
    least: float
    greatest: float


@dataclass(frozen=True)
class State:
    """How far a run has come: in words, and as numbers where they are known."""

    said: str
    finished: bool
    step: int | None = None
    epoch: float | None = None


def read_lines(folder: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines of `metrics.jsonl` that are whole, and how many are not."""
    try:
        text = (folder / METRICS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [], 0
    lines = [line for line in text.splitlines() if line.strip()]
    whole = [row for line in lines if (row := whole_line(line))]
    return whole, len(lines) - len(whole)


def whole_line(line: str) -> dict[str, Any]:
    """A line that says at which step it was noted; empty for any other."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) and is_number(row.get("step")) else {}


def is_number(value: Any) -> bool:
    """Whether a value is a number that can be drawn and compared."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def measured(rows: list[dict[str, Any]]) -> Iterator[Measured]:
    """Every number that the lines hold, in the order in which it first appears."""
    series: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in PLACES and is_number(value):
                series.setdefault(name, []).append(value)
    for name, values in series.items():
        yield Measured(name, len(values), values[0], values[-1], min(values), max(values))


def last_values(rows: list[dict[str, Any]]) -> dict[str, float]:
    """The last step and epoch, and the last value of everything that was measured."""
    last = {name: rows[-1][name] for name in PLACES if rows and is_number(rows[-1].get(name))}
    return last | {one.name: one.last for one in measured(rows)}


def state_of(folder: Path, recipe: Mapping[str, Any]) -> State:
    """Whether a run was imported, is finished, is on its way, or has not begun."""
    origin = read_json(folder / ENVIRONMENT).get(IMPORTED)
    if isinstance(origin, dict):
        return State(f"imported from {origin.get('file')} by the importer {origin.get('importer')}", True)
    rows, _ = read_lines(folder)
    noted = last_values(rows)
    kept = read_json(folder / CONFIG).get("sslcli")
    card = kept if isinstance(kept, dict) else {}
    step = card.get("step", -1)
    if (folder / WEIGHTS).is_file() and is_number(step) and step >= noted.get("step", 0):
        return State("finished", True, step, card.get("epoch"))
    return unfinished(folder, noted, recipe)


def unfinished(folder: Path, noted: Mapping[str, float], recipe: Mapping[str, Any]) -> State:
    """How far a run has come that has handed nothing over."""
    names = Checkpoints(folder, keep=1).names()
    saved = f"its newest checkpoint is {names[0]}" if names else "it has no checkpoint yet"
    epochs = recipe.get("train", {}).get("epochs")
    if "step" not in noted:
        return State(f"not finished: nothing was noted of its training, and {saved}", False)
    reached = f" of {counted(epochs, 'epoch')}" if is_number(epochs) else " epochs"
    said = f"not finished: {noted.get('epoch', 0):.4g}{reached} were noted, and {saved}"
    return State(said, False, int(noted["step"]), noted.get("epoch"))
