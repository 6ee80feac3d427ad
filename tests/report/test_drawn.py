"""Which figures a report shows, and what becomes of those that fail."""

from typing import Any

import pytest
from PIL import Image

from sslcli.api import Figure, FigureOptions
from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.style import canvas
from sslcli.evaluation.trial import Trial
from sslcli.report.drawn import LeftOut, Shown, chosen, draw_all, pictured

HERE = "sslcli_report_test_figures"


def offer(name: str, **more: Any) -> Figure:
    """A figure whose code is a function of this file."""
    return Figure(name, FigureOptions, f"{HERE}:{name}", **more)


def pixels(options: FigureOptions, trial: Trial) -> Drawing:
    """A picture of pixels."""
    return Drawing("Squares", Image.new("RGB", (300, 30)), "Black.")


def refused(options: FigureOptions, trial: Trial) -> Drawing:
    """A figure that this RUN cannot have."""
    raise UserError("no tokens are there", "take another")


def broken(options: FigureOptions, trial: Trial) -> Drawing:
    """A figure with a fault."""
    raise ZeroDivisionError("by nothing")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file as the module that the offers name."""
    import sys
    from types import ModuleType

    module = ModuleType(HERE)
    module.__dict__.update(pixels=pixels, refused=refused, broken=broken)
    monkeypatch.setitem(sys.modules, HERE, module)


def test_a_figure_fits_that_is_about_any_backbone_or_about_a_loss_or_routing_of_the_recipe() -> None:
    offered = {
        "any": offer("any"),
        "mae": offer("mae", shows=("mae",)),
        "moce": offer("moce", shows=("moce.cluster", "moce.fixed")),
        "mugs": offer("mugs", shows=("mugs.group",)),
    }
    recipe = {"loss": [{"name": "mae"}], "routing": {"name": "moce.fixed"}}
    assert [one.name for one in chosen((), offered, recipe)] == ["any", "mae", "moce"]
    assert [one.name for one in chosen(("mugs", "any", "mugs"), offered, recipe)] == ["mugs", "any"]


def test_an_unknown_figure_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(UserError, match="no figure is called 'curve'") as caught:
        chosen(("curve",), {"curves": offer("curves")}, {})
    assert "curves" in caught.value.hint


def test_figures_that_fail_are_left_out_with_the_reason_and_all_are_told() -> None:
    told: list[str] = []
    offers = [offer("pixels"), offer("refused"), offer("broken"), offer("noted", needs="notes")]
    first, *rest = draw_all(offers, Trial("pixels"), "demo", told.append)
    assert isinstance(first, Shown)
    assert [one.reason for one in rest if isinstance(one, LeftOut)] == [
        "no tokens are there",
        "its plugin failed: ZeroDivisionError: by nothing",
        "pixels is no run, so nothing was noted of its training",
    ]
    assert [line.split(":")[0] for line in told] == [f"figure {one.name}" for one in offers]


def test_a_figure_says_how_it_is_drawn_again() -> None:
    (one,) = draw_all([offer("pixels")], Trial("my run"), "demo", lambda line: None)
    assert isinstance(one, Shown)
    assert one.command == "sslcli show pixels 'my run' --data demo -o pixels.png"


def test_pictures_are_data_uris_as_wide_as_they_would_be_printed() -> None:
    figure, _ = canvas(height=1.0, width=5.0)
    drawn, pixelled = pictured(Drawing("", figure)), pictured(Drawing("", Image.new("RGB", (300, 30))))
    assert drawn[0].startswith("data:image/svg+xml;base64,")
    assert pixelled[0].startswith("data:image/png;base64,")
    assert (drawn[1], pixelled[1]) == (480, 192)


def test_a_drawing_of_very_many_lines_is_kept_as_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslcli.report.drawn.LARGEST_SVG", 10)
    figure, _ = canvas(height=1.0)
    assert pictured(Drawing("", figure))[0].startswith("data:image/png")
