"""How alike pictures are to nine others: the figure of inter-instance similarity of PatchMix (arXiv:2306.12243).

Which features the paper compares is not known; here it is the cosine of the vectors that the backbone is judged by. So
the order may be compared with the paper's figure (same above similar above other), and not the numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.errors import UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.samples import evenly, numbers_of, of_another, vectors_of_tested
from sslcli.evaluation.similarity import ROLES, SimilarityFigure, similarity_figure
from sslcli.evaluation.style import COLOURS, FAINT, INK, bare, canvas, style
from sslcli.evaluation.trial import Labelled, Trial
from sslcli.nn.encoders import Pixels
from sslcli_patchmix.figure_options import SimilarityFigureOptions

ROLE_COLOURS = {"same": COLOURS[0], "similar": COLOURS[4], "other": FAINT}
LOOK = Card(image_size=16, crop_share=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # by which classes resemble
MEMBERS, FEWEST = 2, 4  # pictures of a class that is asked for, and classes, at least


@dataclass(frozen=True)
class Row:
    """One picture and its nine: of the run, and of the other one where it is named."""

    name: str
    similar: tuple[str, ...]
    found: SimilarityFigure
    beside: SimilarityFigure | None


def draw(options: SimilarityFigureOptions, trial: Trial) -> Drawing:
    """A row a picture: itself, the nine, and bars of their similarity."""
    source, classes = trial.judged.test, trial.judged.classes
    own = vectors_of_tested(trial)
    other = vectors_of_tested(of_another(trial, options.against)) if options.against else None
    rows = []
    for place, number in enumerate(asked(options, own, classes)):
        similar = resembling(options, trial, own, classes, number)
        chosen = one_of(own, number, options.seed), similar, options.seed + place
        names = tuple(classes[like] for like in similar)
        found, others = compared(own, *chosen), None if other is None else compared(other, *chosen)
        rows.append(Row(classes[number], names, found, others))
    figure = drawn(rows, source, own.positions, options.against)
    return Drawing("Similarity to nine others", figure, caption(options, rows), numbers_in(rows))


def compared(part: Labelled, query: int, similar: Sequence[int], seed: int) -> SimilarityFigure:
    """One picture and its nine, which the seed draws."""
    return similarity_figure(part.features, part.labels, query, similar, seed=seed)


def one_of(own: Labelled, number: int, seed: int) -> int:
    """The row of a picture of a class. Raises UserError where there is none."""
    rows = torch.nonzero(own.labels == number)[:, 0].tolist()
    if not rows:
        raise UserError("a class that is asked for has no picture to test on", "name another: --classes")
    return int(rows[evenly(len(rows), 1, seed)[0]])


def asked(options: SimilarityFigureOptions, own: Labelled, classes: Sequence[str]) -> list[int]:
    """The classes of the pictures that are asked for. Raises UserError."""
    if options.classes:
        return numbers_of(options.classes, classes)
    counts = torch.bincount(own.labels, minlength=len(classes)).tolist()
    enough = [number for number, count in enumerate(counts) if count >= MEMBERS]
    if not enough:
        raise UserError("no class has two pictures to test on", "name more pictures: --data SPEC")
    return [enough[place] for place in evenly(len(enough), options.pictures, options.seed)]


def resembling(
    options: SimilarityFigureOptions, trial: Trial, own: Labelled, classes: Sequence[str], number: int
) -> list[int]:
    """The classes that resemble one: those named, or the two whose mean picture is nearest to its own mean picture.

    Pixels choose them, so that no backbone judges its own choice.
    """
    if options.similar:
        return [like for like in numbers_of(options.similar, classes) if like != number]
    present = sorted(set(own.labels.tolist()))
    if len(present) < FEWEST:
        raise UserError("the figure needs four classes: one, two that resemble it, and others", "name another set")
    table = trial.features(trial.judged.test, Pixels(), "pixels", card=LOOK).features
    means = torch.stack([table[own.labels == like].mean(dim=0) for like in present])
    return [present[place] for place in nearest_means(means, present.index(number))]


def nearest_means(means: Tensor, number: int) -> list[int]:
    """The two rows of `[K, D]` nearest to the row `number`."""
    apart = (means - means[number]).square().sum(dim=1)
    apart[number] = torch.inf
    return [int(place) for place in apart.argsort(stable=True)[:2]]


def drawn(rows: Sequence[Row], source: Source, positions: Tensor, against: str) -> Any:
    """Pictures to the left, bars to the right."""
    with style():
        tall = 1.45 * len(rows) + 0.5
        figure, places = canvas(len(rows), 3, height=tall, squeeze=False, width_ratios=(1.1, 1.1, 2.8))
        for (query, keys, bars), row in zip(places, rows):
            show(query, [picture(source, int(positions[row.found.query]))], 1)
            query.set_title(row.name)
            show(keys, [picture(source, int(positions[key])) for key in row.found.keys], 3)
            draw_bars(bars, row)
        places[0][2].set_title("cosine" + (f"; lines: {against[-22:]}" if against else ""))
        places[-1][2].set_xlabel("the nine pictures, row by row")
        figure.legend(
            handles=[square(colour) for colour in ROLE_COLOURS.values()],
            labels=["same class", f"similar: {', '.join(rows[0].similar)}" if len(rows) == 1 else "similar", "other"],
            loc="outside upper right",
            ncols=3,
        )
    return figure


def square(colour: str) -> Any:
    """A colour for the legend."""
    from matplotlib.patches import Patch

    return Patch(color=colour)


def show(axes: Any, pictures: Sequence[Any], across: int) -> None:
    """Pictures in a square of so many across."""
    bare(axes)
    axes.set(xlim=(0, across), ylim=(across, 0), aspect="equal")
    for number, shown in enumerate(pictures):
        row, column = divmod(number, across)
        axes.imshow(shown, extent=(column + 0.03, column + 0.97, row + 0.97, row + 0.03), interpolation="nearest")
    axes.set(xlim=(0, across), ylim=(across, 0))


def picture(source: Source, place: int) -> Any:
    """A picture as matplotlib takes it, not larger than is seen."""
    from PIL import Image

    try:
        found = source.image(place).copy()
    except BrokenPicture:
        found = Image.new("RGB", (32, 32), FAINT)
    found.thumbnail((128, 128))
    return found


def draw_bars(axes: Any, row: Row) -> None:
    """A bar for each of the nine, the number above it; those of the other run are lines."""
    values = row.found.similarities
    colours = [ROLE_COLOURS[role] for role in ROLES]
    axes.bar(range(len(values)), values, color=colours, width=0.85)
    others = values if row.beside is None else row.beside.similarities
    for place, (value, other) in enumerate(zip(values, others)):
        said = f"{value:.2f}".removeprefix("0") if value >= 0 else f"{value:.1f}"
        axes.text(place, max(value, other, 0) + 0.02, said, ha="center", va="bottom", fontsize=8)
    if row.beside is not None:
        axes.plot(range(len(values)), row.beside.similarities, "_", color=INK, markersize=12)
    low = min(0.0, *values, *others)
    axes.set(ylim=(1.1 * low, 1.2), xticks=[], yticks=[0, 0.5, 1])


def caption(options: SimilarityFigureOptions, rows: Sequence[Row]) -> str:
    """What is seen."""
    how = "named by hand" if options.similar else "the two whose mean picture is nearest in pixels"
    order = sum(row.found.in_order() for row in rows)
    which = "; ".join(f"{row.name}: {', '.join(row.similar)}" for row in rows)
    return (
        "Each picture on the left and nine others: in the middle one of its own class, beside that two of classes that "
        f"resemble it ({how}; {which}), around them six of others. Bars: the cosine of their vectors. In {order} of "
        f"{len(rows)} rows the order is same, similar, other. The scale of the paper's figure is not known."
    )


def numbers_in(rows: Sequence[Row]) -> dict[str, Any]:
    """Similarities by role."""
    return {
        "roles": list(ROLES),
        "rows": [
            {
                "class": row.name,
                "similar": list(row.similar),
                "similarities": list(row.found.similarities),
                "in_order": row.found.in_order(),
                "against": None if row.beside is None else list(row.beside.similarities),
            }
            for row in rows
        ],
    }
