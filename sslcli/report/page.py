"""One HTML page of a run, whole in itself: no script, nothing loaded, light and dark, for a screen, a phone and paper.

content = content_of("runs/mine", tell=print)
write(render(content), Path("runs/mine/report.html"))
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from sslcli import __version__
from sslcli.disk import write_whole
from sslcli.errors import UserError
from sslcli.evaluation.opening import document_at
from sslcli.evaluation.samples import pictures_of
from sslcli.evaluation.trial import Sets, Trial
from sslcli.plugins import Registry, load_registry
from sslcli.recipe.loading import to_toml
from sslcli.report import described, notes, using
from sslcli.report.drawn import SECTIONS, LeftOut, Shown, chosen, draw_all, registry_figures
from sslcli.report.judgements import Judgement, judgements
from sslcli.report.made import Made, made_of
from sslcli.training.runs import RECIPE
from sslcli.words import counted

Tell = Callable[[str], None]
TEMPLATE, STYLE = "page.html.jinja", "page.css"


@dataclass(frozen=True)
class Content:
    """All that a page says, in the order in which it says it."""

    run: str
    name: str
    said: str  # what RUN is
    state: notes.State | None = None  # of a run
    judgements: list[Judgement] = field(default_factory=list)
    measured: list[notes.Measured] = field(default_factory=list)
    unreadable: int = 0  # lines of metrics.jsonl
    shown: list[Shown] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    losses: list[described.Part] = field(default_factory=list)
    backbone: described.Part | None = None
    routing: described.Part | None = None
    views: Mapping[str, described.Part] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    made: Made = field(default_factory=Made)
    ways: list[using.Way] = field(default_factory=list)

    def figures(self, about: str) -> list[Shown]:
        """The figures of a section."""
        return [one for one in self.shown if one.about == about]

    @property
    def toml(self) -> str:
        """The resolved recipe as it can be run again."""
        return to_toml(self.recipe) if self.recipe else ""

    @property
    def head(self) -> dict[str, str]:
        """What a reader wants to know first."""
        began = self.made.sessions[0].started if self.made.sessions else ""
        options = self.backbone.options if self.backbone else ""
        facts = {"run": self.run, "backbone": options, "imported" if self.made.origin else "begun": began}
        return {name: fact for name, fact in facts.items() if fact}

    @property
    def lead(self) -> str:
        """What it is, in a sentence."""
        if self.state is None or not self.losses:
            return f"{self.said}."
        samples = f", {self.made.samples} pictures" if self.made.samples else ""
        network = self.backbone.name if self.backbone else "network"
        routed = f", routed by {self.routing.name}," if self.routing else ""
        return (
            f"A {network} backbone, trained without labels by {listed([loss.name for loss in self.losses])}{routed} on "
            f"{self.recipe.get('data', {}).get('train', 'unknown pictures')}{samples}; {self.said}{self.age}."
        )

    @property
    def age(self) -> str:
        """How long a finished run was trained."""
        if self.state is None or not self.state.finished or self.state.step is None:
            return ""
        epochs = "" if self.state.epoch is None else f", {counted(round(self.state.epoch, 4), 'epoch')}"
        return f": {counted(self.state.step, 'step')}{epochs}"


def content_of(
    run: str, *, data: str = "", wanted: Sequence[str] = (), figures: bool = True, tell: Tell = lambda line: None
) -> Content:
    """Everything there is to say of a RUN. Raises UserError for what is no RUN, no figure on offer or no pictures."""
    trial = Trial(run, (Sets(data),) if data else (), note=lambda line: tell(line) if "warning" in line else None)
    recipe = document_at(trial.folder / RECIPE) if trial.folder else trial.subject.recipe
    registry = load_registry(plugin_files(recipe))
    offers = chosen(wanted, registry_figures(registry), recipe) if figures else []
    if data and offers:
        pictures_of(trial)  # a misspelt SPEC is told, not made into a page without figures
    head = of_run(run, trial.folder, recipe) if trial.folder else {"name": run, "said": trial.subject.said}
    drawn = sorted(draw_all(offers, trial, data, tell), key=place)
    return Content(
        run=run,
        shown=[one for one in drawn if isinstance(one, Shown)],
        left_out=[one for one in drawn if isinstance(one, LeftOut)],
        **head,
        **of_recipe(recipe, registry),
    )


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def place(one: Shown | LeftOut) -> int:
    """Where a figure stands: training, method, any backbone; the sections are in this order."""
    return SECTIONS.index(one.about) if isinstance(one, Shown) else len(SECTIONS)


def plugin_files(recipe: Mapping[str, Any]) -> list[Path]:
    """The plugins in files of their own that a recipe names, as far as they are still there."""
    named = recipe.get("plugins", [])
    return [Path(file) for file in named if Path(str(file)).is_file()] if isinstance(named, list) else []


def of_run(run: str, folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the folder of a run."""
    state = notes.state_of(folder, recipe)
    rows, unreadable = notes.read_lines(folder)
    return {
        "name": str(recipe.get("name") or folder.name),
        "said": state.said,
        "state": state,
        "judgements": list(judgements(folder)),
        "measured": list(notes.measured(rows)),
        "unreadable": unreadable,
        "made": made_of(folder),
        "ways": using.ways(run, folder, state),
    }


def of_recipe(recipe: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """What a recipe says, in words."""
    parts = {kind: recipe[kind] for kind in ("backbone", "routing") if isinstance(recipe.get(kind), Mapping)}
    return {
        "recipe": recipe,
        "losses": described.losses_of(recipe, registry),
        "views": described.views_of(recipe, registry),
        "training": described.training_of(recipe),
        **{kind: described.part_of(kind, table, registry) for kind, table in parts.items()},
    }


def render(content: Content) -> str:
    """The page. Every word of it is escaped but the style sheet, which is ours."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"number": number, "breaking": breaking}
    here = files("sslcli.report")
    template = environment.from_string((here / TEMPLATE).read_text(encoding="utf-8"))
    style = Markup((here / STYLE).read_text(encoding="utf-8"))
    return template.render(page=content, style=style, version=__version__, today=datetime.now(UTC).date().isoformat())


def number(value: float) -> str:
    """A measured number, in as many digits as tell something."""
    return f"{value:.4g}"


def breaking(name: str) -> Markup:
    """A dotted or slashed name that may be broken behind its joints, where a phone has no room."""
    return Markup(re.sub(r"([/_.])", r"\1<wbr>", str(escape(name))))


def write(html: str, file: Path) -> None:
    """Write the page, whole or not at all. Raises UserError where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_text(html, encoding="utf-8"))
    except OSError as failure:
        raise UserError(f"cannot write {file}: {failure.strerror or failure}", "name another file with -o") from failure
