"""What is asked of a figure: a drawing with a caption, the same twice, that can be written and is not large."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from PIL import Image

from sslcli.api import Offer
from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.testing.judging import JudgingCase, judge_pixels, prepare_case
from sslcli.testing.results import Skip, expect

LARGEST = 2 << 20  # bytes of a PNG: a report holds all figures in one file


class FigureCase:
    """A figure, and what it drew."""

    def __init__(self, case: JudgingCase) -> None:
        self.case = case
        try:
            self.drawing: Any = case.made()
        except UserError as refused:  # it is about runs of another kind, or about trained ones
            raise Skip(f"it does not draw a tiny ViT at its random start: {refused.message}") from refused


def prepare(offer: Offer) -> FigureCase:
    """The figure, drawn once of a tiny backbone at its random start."""
    return FigureCase(prepare_case(offer))


def checks_of(offer: Offer) -> tuple[Callable[[FigureCase], None], ...]:
    """The checks of a figure, in order."""
    return (returns_a_drawing, says_what_is_seen, can_be_written, draws_the_same_twice, refuses_pixels_in_words)


def returns_a_drawing(case: FigureCase) -> None:
    """`sslcli.evaluation.drawings.Drawing`."""
    found = case.drawing
    expect(isinstance(found, Drawing), f"it returns a {type(found).__name__}, not a Drawing")


def says_what_is_seen(case: FigureCase) -> None:
    """A title, a caption, and numbers that are plain data."""
    expect(case.drawing.title and case.drawing.caption, "title or caption say nothing")
    try:
        json.dumps(dict(case.drawing.numbers))
    except TypeError as error:
        expect(False, f"its numbers are no plain data: {error}")


def can_be_written(case: FigureCase) -> None:
    """As a PNG that opens again, and is small enough for a report."""
    data = case.drawing.png()
    expect(Image.open(BytesIO(data)).size > (1, 1), "its PNG is empty")
    expect(len(data) <= LARGEST, f"its PNG has {len(data) >> 10} KiB, more than {LARGEST >> 10}")


def draws_the_same_twice(case: FigureCase) -> None:
    """All chance comes from `options.seed`."""
    again = case.case.made(chance=1)
    expect(dict(again.numbers) == dict(case.drawing.numbers), "two calls give different numbers")


def refuses_pixels_in_words(case: FigureCase) -> None:
    """Raw pixels have vectors and nothing else: what needs more raises UserError."""
    judge_pixels(case.case)
