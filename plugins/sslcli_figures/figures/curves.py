"""What a run noted while it was trained, as small curves: RUN/metrics.jsonl."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.style import COLOURS, FAINT, QUIET, canvas, style
from sslcli.evaluation.trial import Trial
from sslcli.training.runs import METRICS
from sslcli_figures.options import CurvesOptions

Curve = NDArray[np.float64]  # [T, 2], epochs and values
FIRST = ("loss", "lr", "knn_top1", "health/effective_rank", "health/spread")
LEFT_OUT = ("step", "epoch", "images_per_second")
STEEP = 20.0  # the greatest value by the least, from which a scale of powers shows more
LIMITS = {"health/effective_rank": "min_effective_rank", "health/spread": "min_spread"}


def draw(options: CurvesOptions, trial: Trial) -> Drawing:
    """A panel for each number that was noted."""
    if trial.folder is None:
        raise UserError(f"{trial.run} is no run, so nothing was noted of its training", "name the folder of a run")
    found = curves_of(read(trial.folder / METRICS))
    names = in_order(found)
    shown = names[: options.panels]
    if not shown:
        raise UserError(f"nothing is in {trial.folder / METRICS} yet", "wait until it has trained for a while")
    sentinel = trial.recipe.get("sentinel", {})
    limits = {name: float(sentinel[key]) for name, key in LIMITS.items() if key in sentinel}
    figure = drawn({name: thinned(found[name], options.points) for name in shown}, limits)
    return Drawing("Training", figure, caption(names, shown, limits), numbers_in(found, names))


def read(file: Path) -> list[dict[str, Any]]:
    """The lines of the file; one that is not whole, as of a run that goes on, is passed over. Raises UserError."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as failure:
        raise UserError(f"cannot read {file}: {failure.strerror or failure}", "name the folder of a run") from failure
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("epoch"), int | float):
            rows.append(row)
    return rows


def curves_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """By name, what was noted at which epoch: finite numbers, of an epoch that was trained twice the later ones."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, value in row.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and math.isfinite(value) and name not in LEFT_OUT:
                found.setdefault(name, {})[float(row["epoch"])] = float(value)
    return {name: np.array(sorted(points.items())) for name, points in found.items()}


def in_order(found: Mapping[str, Curve]) -> list[str]:
    """What matters most first; losses next, their parts after them; what never changes is left out."""
    telling = [name for name in found if len(found[name]) == 1 or np.ptp(found[name][:, 1]) > 0]
    same = [name for name in telling if name != "loss" and np.array_equal(found[name], found.get("loss", ()))]
    rest = sorted((name for name in telling if name not in (*FIRST, *same)), key=lambda name: (name.count("/"), name))
    return [name for name in FIRST if name in telling] + rest


def thinned(curve: Curve, most: int) -> Curve:
    """The means of equal stretches where there are more points than wanted."""
    if len(curve) <= most:
        return curve
    return np.array([part.mean(axis=0) for part in np.array_split(curve, most)])


def drawn(curves: Mapping[str, Curve], limits: Mapping[str, float]) -> Any:
    """Two panels beside each other."""
    rows = -(-len(curves) // 2)
    with style():
        figure, places = canvas(rows, 2, height=0.35 + 1.35 * rows, squeeze=False, sharex=True)
        for axes, (name, curve) in zip(places.flat, curves.items()):
            panel(axes, name, curve, limits.get(name))
        for axes in places.flat[len(curves) :]:
            axes.set_visible(False)
        for axes in places.flat[max(len(curves) - 2, 0) : len(curves)]:
            axes.set_xlabel("epoch")
            axes.tick_params(labelbottom=True)
    return figure


def panel(axes: Any, name: str, curve: Curve, limit: float | None) -> None:
    """One curve; few points are marked; the sentinel's limit is dotted."""
    axes.plot(*curve.T, color=COLOURS[0], marker="o" if len(curve) <= 12 else "", markersize=3)
    axes.set_title(name if len(name) <= 30 else f"…{name[-29:]}")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    if limit:
        axes.axhline(limit, color=QUIET, linewidth=1, linestyle=":")
    if steep(name, curve):
        axes.set_yscale("log")
    elif name.startswith("knn_"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))


def steep(name: str, curve: Curve) -> bool:
    """Whether powers show more: of anything but rates, which fall to almost nothing at their end."""
    values = curve[:, 1]
    return name != "lr" and bool(values.min() > 0 and values.max() > STEEP * values.min())


def caption(names: Sequence[str], shown: Sequence[str], limits: Mapping[str, float]) -> str:
    """What is seen."""
    more = f" {len(names) - len(shown)} more are in {METRICS}." if len(names) > len(shown) else ""
    dotted = " Dotted: below it the sentinel speaks of collapse." if set(limits) & set(shown) else ""
    return f"What was noted while the run was trained, by epochs.{dotted}{more}"


def numbers_in(found: Mapping[str, Curve], names: Sequence[str]) -> dict[str, Any]:
    """First, last, least and greatest of each curve."""
    return {
        name: {
            "first": float(found[name][0, 1]),
            "last": float(found[name][-1, 1]),
            "least": float(found[name][:, 1].min()),
            "greatest": float(found[name][:, 1].max()),
        }
        for name in names
    }
