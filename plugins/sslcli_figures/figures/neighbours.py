"""A gallery: pictures, and those whose vectors lie nearest by cosine."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.neighbours import nearest
from sslcli.evaluation.samples import evenly, pictures_of
from sslcli.evaluation.sheets import Cell, sheet
from sslcli.evaluation.style import RIGHT, WRONG
from sslcli.evaluation.trial import Trial
from sslcli.evaluation.vote import check_finite
from sslcli_figures.figures.vectors import fewer, unlabelled
from sslcli_figures.options import NeighboursOptions


@dataclass(frozen=True)
class Side:
    """Pictures: vectors `[N, D]`, places in the source `[N]` and, where there are some, labels `[N]`."""

    source: Source
    rows: Tensor
    places: Tensor
    labels: Tensor | None

    def picture(self, row: int) -> Image.Image:
        """One of them; grey where it has become unreadable meanwhile."""
        try:
            return self.source.image(int(self.places[row]))
        except BrokenPicture:
            return Image.new("RGB", (32, 32), "#d9d9d9")

    def class_of(self, row: int) -> str:
        """The name of its class, or nothing."""
        return "" if self.labels is None else self.source.classes[int(self.labels[row])]


def draw(options: NeighboursOptions, trial: Trial) -> Drawing:
    """A row a picture that is asked for: itself, then its neighbours, nearest first."""
    asked, known, same = sides(trial)
    k = options.k + same
    if k > len(known.rows):
        raise UserError(f"{options.k} neighbours are more than there are pictures", fewer(len(known.rows) - same))
    queries = evenly(len(asked.rows), options.pictures, options.seed)
    cosines, found = (values.cpu() for values in nearest(known.rows, asked.rows[queries], k, device=trial.device))
    if same:
        cosines, found = others(cosines, found, queries)
    rows = [row_of(asked, known, *row) for row in zip(queries, found.tolist(), cosines.tolist())]
    heads = ["asked for", *(f"neighbour {rank + 1}" if not rank else str(rank + 1) for rank in range(options.k))]
    return Drawing(
        "Nearest neighbours",
        sheet(rows, heads),
        caption(asked, known, same),
        numbers_in(asked, known, queries, found, cosines),
    )


def sides(trial: Trial) -> tuple[Side, Side, bool]:
    """Who asks, who answers, and whether they are the same pictures, as those without labels are."""
    try:
        judged = trial.judged
    except UserError:
        source = pictures_of(trial)
        table = unlabelled(trial, source)
        side = Side(source, table.features, table.positions, None)
        return side, side, True
    train, test = trial.labelled()
    for part, name in ((train, "training"), (test, "test")):
        check_finite(part.features, name)
    same = judged.train.fingerprint == judged.test.fingerprint
    asked = Side(judged.test, test.features, test.positions, test.labels)
    return asked, Side(judged.train, train.features, train.positions, train.labels), same


def others(cosines: Tensor, found: Tensor, queries: list[int]) -> tuple[Tensor, Tensor]:
    """The neighbours of each picture but itself; the last one where a twin stands before it."""
    keep = found != torch.tensor(queries)[:, None]
    keep[keep.all(dim=1), -1] = False
    shape = (len(found), found.shape[1] - 1)
    return cosines[keep].view(shape), found[keep].view(shape)


def row_of(asked: Side, known: Side, query: int, found: list[int], cosines: list[float]) -> list[Cell]:
    """One picture and its neighbours, cosines under them."""
    own = asked.class_of(query)
    cells = [Cell(asked.picture(query), own)]
    for row, cosine in zip(found, cosines):
        frame = "" if not own else RIGHT if known.class_of(row) == own else WRONG
        cells.append(Cell(known.picture(row), f"{cosine:.3f}", frame))
    return cells


def caption(asked: Side, known: Side, same: bool) -> str:
    """What is seen."""
    frames = " A blue frame: of the same class. Orange: of another." if asked.labels is not None else ""
    among = f"the {len(known.rows) - 1} others" if same else f"the {len(known.rows)} training pictures"
    return (
        f"{len(asked.rows)} pictures were there to ask for, evenly spread ones are shown. Beside each its nearest of "
        f"{among} by the cosine of their vectors, which stands under them.{frames}"
    )


def numbers_in(asked: Side, known: Side, queries: list[int], found: Tensor, cosines: Tensor) -> dict[str, Any]:
    """Who is beside whom."""
    rows = [
        {
            "asked": asked.source.name(int(asked.places[query])),
            "class": asked.class_of(query),
            "neighbours": [known.source.name(int(known.places[row])) for row in own.tolist()],
            "classes": [known.class_of(row) for row in own.tolist()],
            "cosines": near.tolist(),
        }
        for query, own, near in zip(queries, found, cosines)
    ]
    right = [name == row["class"] for row in rows for name in row["classes"] if name]
    return {"rows": rows, "right": sum(right) / len(right) if right else None}
