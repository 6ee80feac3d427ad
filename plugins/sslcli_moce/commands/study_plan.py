"""What `sslcli moce study` trains, from what, on which pictures, and what that costs; nothing is done here.

start       a dense backbone on all pictures                       recipe --start, or --init RUN
clusters    of the start's features                                as `sslcli moce cluster`
dense-all   the start trained on, on all pictures                  recipe --dense, or --dense-run RUN
dense-a/-b  the same on one half, for as many epochs of it         or --a-run, --b-run
moce        the start trained on with experts, on all pictures     recipe --recipe, or --moce-run RUN
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.recipe import Recipe
    from sslcli_moce.selection import Vote

START, ALL, A, B, MOCE = "start", "dense-all", "dense-a", "dense-b", "moce"
APART = {"name", "init", "data.part"}  # in what MoCE's recipe and the dense one are bound to differ, besides routing
ROUTING = "routing."
HEADS = ("step", "epochs", "pictures", "state", "run")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a person asked for; a run that is named is not trained."""

    data: str
    study: Path
    start: str = "mae/tiny"
    dense: str = "moce/dense-tiny"
    recipe: str = "moce/tiny"
    given: Mapping[str, str]  # runs that are there already, by what they are in the study
    halves: tuple[str, str] | None = None
    clusters: int = 256
    vote: "Vote" = "largest"
    sets: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Training:
    """One run of the study."""

    name: str
    recipe: str
    overrides: tuple[str, ...]
    folder: Path
    part: str = ""  # the half that it trains on

    def load(self) -> "Recipe":
        """Its recipe. Raises RecipeError, before anything is trained."""
        from sslcli.recipe import load_recipe

        return load_recipe(self.recipe, self.overrides)

    @property
    def state(self) -> str:
        """How far it is."""
        from sslcli.training.runs import BACKBONE, RECIPE

        if (self.folder / BACKBONE).is_file():
            return "finished"
        return "begun" if (self.folder / RECIPE).is_file() else "to do"

    @property
    def command(self) -> str:
        """What trains it by hand, for instance on another machine."""
        sets = [word for override in self.overrides for word in ("--set", override)]
        return shlex.join(["sslcli", "pretrain", self.recipe, *sets, "--output", str(self.folder)])


@dataclass(frozen=True)
class Plan:
    """The whole study."""

    wishes: Wishes
    runs: Mapping[str, str]  # a RUN for every part of the study, trained here or not
    trainings: Mapping[str, Training]  # those that are trained here, in order
    clusters: Path | None  # of the start, or of a given mixture; None where nothing needs them
    halves: tuple[str, str]  # the files of the parts
    halves_made: bool  # whether they are made here, of the clusters


def make_plan(wishes: Wishes) -> Plan:
    """All runs of a study, their recipes checked. Raises UserError."""
    runs = {name: str(wishes.study / "runs" / name) for name in (START, ALL, A, B, MOCE)} | dict(wishes.given)
    absent = [name for name in runs if name not in wishes.given]
    halves = wishes.halves or (str(wishes.study / "halves" / "a.json"), str(wishes.study / "halves" / "b.json"))
    if absent == [START]:  # nothing grows out of it
        absent.clear()
        del runs[START]
    made = wishes.halves is None and bool({A, B} & set(absent))
    clusters = wishes.study / "clusters" if MOCE in absent else clusters_of(wishes.given[MOCE]) if made else None
    return Plan(wishes, runs, dict(planned(wishes, runs, absent, halves)), clusters, halves, made)


def clusters_of(run: str) -> Path:
    """The clusters that a given mixture was trained with. Raises UserError."""
    from sslcli_moce.commands.mixture import place_of_clusters

    return place_of_clusters(run, "")


def planned(
    wishes: Wishes, runs: Mapping[str, str], absent: Sequence[str], halves: tuple[str, str]
) -> Iterator[tuple[str, Training]]:
    """The runs that are to be trained: the start, MoCE's dense twins, MoCE."""
    begin, length = setting("init", runs.get(START, "")), epochs_of(wishes)
    parts = {A: halves[0], B: halves[1]}
    for name in absent:
        folder = Path(runs[name])
        if name == START:
            yield name, Training(name, wishes.start, common(wishes), folder)
        elif name == MOCE:
            routing = setting("routing.clusters", str(wishes.study / "clusters"))
            routings = [flag for flag in wishes.sets if flag.startswith(ROUTING)]
            yield name, Training(name, wishes.recipe, (*common(wishes), *routings, routing, begin), folder)
        else:
            part = [setting("data.part", parts[name])] if name in parts else []
            overrides = (*common(wishes), length, begin, *part)
            yield name, Training(name, wishes.dense, overrides, folder, parts.get(name, ""))


def common(wishes: Wishes) -> tuple[str, ...]:
    """What holds for every run; `--set` may say otherwise, but for the data."""
    plain = (f"train.seed={wishes.seed}", setting("probe.data", ""))
    sets = [flag for flag in wishes.sets if not flag.startswith(ROUTING)]
    return (*plain, *sets, setting("data.train", wishes.data))


def setting(key: str, text: str) -> str:
    """A key and its text for `--set`."""
    return f"{key}={json.dumps(text, ensure_ascii=False)}"


def epochs_of(wishes: Wishes) -> str:
    """The dense twins train for as many epochs as MoCE does. Raises UserError where that has no clusters."""
    from sslcli.recipe import load_recipe

    routings = [flag for flag in wishes.sets if flag.startswith(ROUTING)]
    recipe = load_recipe(wishes.recipe, (*common(wishes), *routings))
    if "clusters" not in (recipe.document.get("routing") or {}):
        raise UserError(
            f"{wishes.recipe} routes by no clusters, so no task has an expert of its own",
            "take a recipe with [routing] name = 'moce.cluster', such as moce/tiny",
        )
    return f"train.epochs={recipe.train.epochs}"


def check(plan: Plan) -> list[str]:
    """All recipes, looked at before the first is trained; what makes the comparison unfair, in words.

    Raises RecipeError.
    """
    recipes = {name: training.load() for name, training in plan.trainings.items()}
    moce, dense = recipes.get(MOCE), next((recipes[name] for name in (ALL, A, B) if name in recipes), None)
    if moce is None or dense is None:
        return []
    differing = different_keys(moce.document, dense.document)
    return [
        f"{plan.wishes.recipe} and {plan.wishes.dense} differ in more than the experts: {key} is {one} and {other}"
        for key, (one, other) in differing.items()
        if key not in APART and "routing" not in key.split(".")
    ]


def different_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys in which two documents differ, with both values."""
    first, second = dict(flat(one)), dict(flat(other))
    keys = dict.fromkeys((*first, *second))
    return {key: (first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)}


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables under its dotted key."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value


def steps_of(plan: Plan, pictures: Mapping[str, int | None], total: int) -> list[dict[str, Any]]:
    """Every step of the study with its cost; `pictures` are those of each half, None where it is yet to be made."""
    rows = [step_of(training, pictures, total) for training in plan.trainings.values()]
    given = [{"step": name, "state": "given", "run": run, "command": ""} for name, run in plan.wishes.given.items()]
    place = 1 if START in plan.trainings else 0
    return [*given, *rows[:place], *clustering_of(plan), *rows[place:]]


def step_of(training: Training, pictures: Mapping[str, int | None], total: int) -> dict[str, Any]:
    """One training: its epochs, its pictures, and what that is in epochs of all pictures."""
    epochs = training.load().train.epochs
    own = pictures.get(training.name, total)
    share = 0.5 if own is None else own / total  # two halves are one whole
    return {
        "step": training.name,
        "epochs": epochs,
        "pictures": own,
        "cost": epochs * share if training.state != "finished" else 0.0,
        "state": training.state,
        "run": str(training.folder),
        "command": training.command,
    }


def clustering_of(plan: Plan) -> list[dict[str, Any]]:
    """The step that makes the clusters, where they do not come with a mixture."""
    if plan.clusters is None or MOCE not in plan.trainings:
        return []
    done = (plan.clusters / "clusters.json").is_file()
    state, command = "finished" if done else "to do", clustering_command(plan)
    return [{"step": "clusters", "state": state, "run": str(plan.clusters), "command": command}]


def clustering_command(plan: Plan) -> str:
    """What makes the clusters by hand."""
    wishes = plan.wishes
    numbers = ["--clusters", str(wishes.clusters), "--seed", str(wishes.seed)]
    return shlex.join(
        ["sslcli", "moce", "cluster", plan.runs[START], "--data", wishes.data, *numbers, "-o", str(plan.clusters)]
    )


def line_of(step: Mapping[str, Any]) -> tuple[object, ...]:
    """A step in a line of the table."""
    epochs = f"{step['epochs']:g}" if "epochs" in step else ""
    pictures = "" if "epochs" not in step else step["pictures"] if step["pictures"] is not None else "a half"
    return step["step"], epochs, pictures, step["state"], step["run"]
