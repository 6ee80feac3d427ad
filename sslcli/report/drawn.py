"""The figures of a report: which of those on offer say something about a RUN, and their pictures as data URIs.

What cannot be drawn of this RUN is left out, with the reason; a report is never lost for a figure.
"""

import base64
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslcli.api import Figure
from sslcli.errors import RunError, UserError, did_you_mean
from sslcli.evaluation.drawings import DOTS, Drawing
from sslcli.evaluation.trial import Trial
from sslcli.plugins import Registry, resolve

LARGEST_SVG = 1_000_000  # bytes; a drawing of more lines than that is kept as pixels
CSS_DOTS = 96  # of a page, an inch
SECTIONS = TRAINING, METHOD, BACKBONE = "training", "method", "backbone"  # what a figure is about

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Shown:
    """A figure that was drawn: its picture as a data URI, how wide it wants to be in pixels of a page, its words."""

    name: str
    title: str
    caption: str
    picture: str
    width: int
    command: str  # that draws it again
    seconds: float
    about: str  # one of SECTIONS
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class LeftOut:
    """A figure that was not drawn, and why."""

    name: str
    reason: str


def registry_figures(registry: Registry) -> dict[str, Figure]:
    """Every figure on offer by name, in the order of names."""
    offers = [offer for offer in registry.offers("figure") if isinstance(offer, Figure)]
    return {offer.name: offer for offer in sorted(offers, key=lambda offer: offer.name)}


def chosen(wanted: Sequence[str], offered: Mapping[str, Figure], recipe: Mapping[str, Any]) -> list[Figure]:
    """The figures that were asked for, or all that are about this recipe. Raises UserError for an unknown name."""
    for name in wanted:
        if name not in offered:
            raise UserError(f"no figure is called '{name}'", did_you_mean(name, offered))
    if wanted:
        return [offered[name] for name in dict.fromkeys(wanted)]
    used = names_in(recipe)
    return [offer for offer in offered.values() if not offer.shows or used & set(offer.shows)]


def names_in(recipe: Mapping[str, Any]) -> set[str]:
    """The names of a recipe's losses and of its routing."""
    losses = recipe.get("loss", [])
    tables = [*(losses if isinstance(losses, list) else []), recipe.get("routing", {})]
    return {str(table["name"]) for table in tables if isinstance(table, Mapping) and "name" in table}


def draw_all(offers: Iterable[Figure], trial: Trial, data: str, tell: Tell) -> Iterator[Shown | LeftOut]:
    """Each figure, or why it is left out, told as it is done."""
    for offer in offers:
        found = draw(offer, trial, data)
        tell(f"figure {offer.name}: {found.reason if isinstance(found, LeftOut) else f'{found.seconds:.1f} s'}")
        yield found


def draw(offer: Figure, trial: Trial, data: str) -> Shown | LeftOut:
    """One figure by its defaults."""
    began = time.perf_counter()
    if offer.needs == "notes" and trial.folder is None:
        return LeftOut(offer.name, f"{trial.run} is no run, so nothing was noted of its training")
    try:
        drawing = resolve(offer.code)(offer.options(), trial)
        picture, width = pictured(drawing)
    except (UserError, RunError) as error:
        return LeftOut(offer.name, error.message)
    except Exception as error:  # a fault of the plugin, which must not cost the rest of the report
        return LeftOut(offer.name, f"its plugin failed: {type(error).__name__}: {error}")
    seconds = time.perf_counter() - began
    again = command(offer, trial.run, data, ".svg" if drawing.drawn else ".png")
    words = (drawing.title, drawing.caption)
    return Shown(offer.name, *words, picture, width, again, seconds, about(offer), drawing.numbers)


def about(offer: Figure) -> str:
    """What a figure is about."""
    if offer.needs == "notes":
        return TRAINING
    return METHOD if offer.shows else BACKBONE


def command(offer: Figure, run: str, data: str, ending: str) -> str:
    """The command that draws a figure by itself, where its options can be changed."""
    named = ["--data", data] if data and offer.needs != "notes" else []
    return shlex.join(["sslcli", "show", offer.name, run, *named, "-o", f"{offer.name}{ending}"])


def pictured(drawing: Drawing) -> tuple[str, int]:
    """The picture as a data URI, in which no script runs and which loads nothing, and its width in pixels of a page."""
    if drawing.drawn:
        width = round(drawing.image.get_figwidth() * CSS_DOTS)
        lines = drawing.svg()
        if len(lines) <= LARGEST_SVG:
            return data_uri(lines, "image/svg+xml"), width
        return data_uri(drawing.png(), "image/png"), width
    return data_uri(drawing.png(), "image/png"), round(drawing.image.width * CSS_DOTS / DOTS)


def data_uri(content: bytes, kind: str) -> str:
    """Content that stands in the page itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
