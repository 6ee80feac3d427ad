"""`sslcli show NAME RUN -o FILE`: a picture of what a backbone has learned. Every figure is a plugin's."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.offered import REQUIRED, TRIAL, OfferGroup, make_trial
from sslcli.cli.output import print_json

if TYPE_CHECKING:
    from sslcli.api import Figure

OWN = {
    "output": (
        Annotated[
            Path, typer.Option("--output", "-o", metavar="FILE", help="A .png; .svg and .pdf for drawn figures.")
        ],
        REQUIRED,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", help="Print the numbers of the figure as one JSON object.")],
        False,
    ),
}


class FigureGroup(OfferGroup):
    """The figures on offer."""

    kind, title, common = "figure", "Figures", {**TRIAL, **OWN}

    def perform(self, offer: "Figure", options: Any, given: dict[str, Any]) -> None:
        """Draw, and tell where."""
        file = given["output"]
        trial = make_trial(given)
        from sslcli.evaluation.drawings import DRAWN, refuse_ending
        from sslcli.plugins import resolve

        refuse_ending(file, DRAWN)  # before all the work; pixels have fewer endings, which is seen behind it
        drawing = resolve(offer.code)(options, trial)
        drawing.save(file)
        if given["json"]:
            facts = {"figure": offer.name, "run": trial.run, "file": str(file), "caption": drawing.caption}
            print_json(facts | dict(drawing.numbers))
        else:
            print(file)


app = typer.Typer(cls=FigureGroup, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Draw what a backbone has learned.

    \b
    sslcli show attention runs/mine -o attention.png
    sslcli show NAME --help
    """
