"""How every drawing looks: light, calm, narrow enough for a phone, in colours that colour-blind people tell apart.

with style():
    figure, axes = canvas(height=3.0)
    axes.plot(steps, losses, color=COLOURS[0])
"""

from contextlib import AbstractContextManager
from typing import Any

WIDTH = 5.0  # inches of every drawing: a phone shows it at about four fifths of its size
PAPER, INK, QUIET, FAINT = "#ffffff", "#333333", "#6b6b6b", "#d9d9d9"
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7f7f7f")  # Okabe and Ito's
MARKERS = ("o", "^", "s", "D", "v", "P")  # beside the colours, where these do not suffice
RIGHT, WRONG = COLOURS[0], COLOURS[5]
HEAT, AMOUNT = "viridis", "Blues"  # maps of matplotlib: of attention, of counts and shares


def style() -> AbstractContextManager[None]:
    """Matplotlib's settings while a figure is made; they are as before afterwards. No text is below 8 points."""
    import matplotlib

    settings: dict[str, Any] = {
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "axes.labelsize": 8,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "text.color": INK,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "lines.linewidth": 1.5,
    }
    context: AbstractContextManager[None] = matplotlib.rc_context(settings)
    return context


def canvas(rows: int = 1, columns: int = 1, *, height: float, width: float = WIDTH, **arranged: Any) -> tuple[Any, Any]:
    """A figure of matplotlib and its axes as `subplots` gives them; no window is opened and nothing global kept."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **arranged)


def bare(axes: Any) -> None:
    """Axes without ticks and frame: of pictures, and of maps without scales."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def looks(number: int) -> dict[str, str]:
    """Colour and marker of the class `number`: no two of the first 48 are the same."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number // len(COLOURS) % len(MARKERS)]}
