"""Two histograms over one another, the medians marked: of a backbone, and of another beside it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from sslcli.evaluation.style import COLOURS, canvas, style

FEWEST, MOST = 10, 40  # bins
LONG = 48  # letters of a name


def histogram(found: Mapping[str, Tensor], label: str, *, logarithmic: bool, counted: str) -> Any:
    """Values `[K]` by the name of their backbone. Equal bins, of powers where `logarithmic`."""
    everything = np.concatenate([values.numpy() for values in found.values()])
    edges = bins(everything, logarithmic)
    with style():
        figure, axes = canvas(height=3.0)
        for (name, values), colour in zip(found.items(), COLOURS):
            middle = float(values.median())
            shares = np.full(len(values), 1 / len(values))
            said = f"{name if len(name) <= LONG else '…' + name[-LONG:]}, median {middle:.3g}"
            axes.hist(values.numpy(), edges, weights=shares, color=colour, alpha=0.55, label=said)
            axes.axvline(middle, color=colour, linewidth=1.5)
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel(f"share of the {counted}")
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        figure.legend(loc="outside upper left", ncols=1)
    return figure


def bins(values: Any, logarithmic: bool) -> Any:
    """Edges from the least to the greatest value, a little apart where all are the same."""
    low, high = float(values.min()), float(values.max())
    count = min(max(round(2 * len(values) ** 0.5), FEWEST), MOST)
    if logarithmic and low > 0:
        return np.geomspace(low * 0.999, high * 1.001, count + 1)
    gap = 1e-3 * max(abs(low), abs(high), 1e-9)
    return np.linspace(low - gap, high + gap, count + 1)
