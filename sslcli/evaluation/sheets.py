"""Sheets of pictures where pixels matter: rows of equal cells, with words over the columns and under the cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sslcli.evaluation.style import INK, PAPER

ACROSS = 900  # pixels, about, of a sheet
SMALLEST, LARGEST = 72, 136  # of a cell
GAP, FRAME = 6, 5
LETTERS = 17  # pixels: 8 points at the 150 dots an inch of drawings


@dataclass(frozen=True)
class Cell:
    """A picture, words under it, and the colour of a frame around it."""

    picture: Image.Image | None  # none leaves the place free
    words: str = ""
    frame: str = ""


def sheet(rows: Sequence[Sequence[Cell]], heads: Sequence[str] = ()) -> Image.Image:
    """The cells of all rows, `heads` over the columns. Words that are too long for a cell are cut."""
    columns = max(map(len, rows))
    side = min(max(ACROSS // columns - GAP, SMALLEST), LARGEST)
    line = LETTERS + GAP
    top = GAP + (line if any(heads) else 0)
    heights = [side + GAP + (line if any(cell.words for cell in row) else 0) for row in rows]
    paper = Image.new("RGB", (columns * (side + GAP) + GAP, top + sum(heights)), PAPER)
    for column, head in enumerate(heads):
        write(paper, head, GAP + column * (side + GAP), GAP, side)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            place(paper, cell, GAP + column * (side + GAP), top + sum(heights[:number]), side)
    return paper


def place(paper: Image.Image, cell: Cell, left: int, top: int, side: int) -> None:
    """Put a cell onto the sheet."""
    if cell.frame:
        ImageDraw.Draw(paper).rectangle((left, top, left + side - 1, top + side - 1), fill=cell.frame)
    inner = side - 2 * FRAME if cell.frame else side
    if cell.picture is not None:
        shown = fitted(cell.picture, inner)
        paper.paste(shown, (left + (side - shown.width) // 2, top + (side - shown.height) // 2))
    write(paper, cell.words, left, top + side + GAP // 3, side)


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """The picture as large as a square allows: enlarged ones show their pixels, reduced ones are smoothed."""
    scale = side / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def write(paper: Image.Image, words: str, left: int, top: int, width: int) -> None:
    """Words in one line, cut to a width."""
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(LETTERS)
    while words and pen.textlength(words, font=font) > width:
        words = words.removesuffix("…")[:-1] + "…" if len(words) > 2 else ""
    pen.text((left, top), words, fill=INK, font=font)


def pictured(pixels: NDArray[np.uint8]) -> Image.Image:
    """Pixels `[H, W, 3]` as a picture."""
    return Image.fromarray(np.ascontiguousarray(pixels))
