"""From the name of a RUN to its mixture of experts and to the clusters that it was trained with."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.disk import expand
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.evaluation.card import Card
    from sslcli.evaluation.subjects import Subject
    from sslcli.nn import Backbone
    from sslcli_moce.clusters import Clusters

Note = Callable[[str], None]


@dataclass(frozen=True)
class Mixture:
    """A mixture of experts by clusters."""

    run: str  # as the person wrote it
    said: str  # what it turned out to be
    backbone: "Backbone"
    card: "Card"  # how pictures are shown to it
    description: Mapping[str, Any]  # what `config.json` says of it
    clusters: "Clusters"
    folder: Path  # of the clusters


def open_mixture(run: str, clusters: str = "", *, note: Note = lambda line: None) -> Mixture:
    """What RUN names; `clusters` is where their folder is now, when it was moved. Raises UserError."""
    from sslcli.evaluation.opening import open_subject
    from sslcli_moce.clusters import read_clusters
    from sslcli_moce.extraction import layers_of

    place = place_of_clusters(run, clusters)
    overrides = [f"routing.clusters={json.dumps(str(place))}"] if clusters else []
    try:
        subject = open_subject(run, overrides=overrides, note=note)
    except UserError as problem:
        raise explained(problem, run, place) from None
    backbone = getattr(subject.encoder, "backbone", None)
    if backbone is None:
        raise no_mixture(run)
    layers = layers_of(backbone)
    found = read_clusters(place)
    refuse_other_clusters(run, place, layers, found)
    return Mixture(run, subject.said, backbone, subject.card, describe(run, subject), found, place)


def place_of_clusters(run: str, clusters: str) -> Path:
    """The folder of a run's clusters: as its recipe says, or where it is now. Raises UserError when it is not there."""
    from sslcli_moce.clusters import MANIFEST, read_clusters

    routing = routing_of(run)
    if clusters:
        read_clusters(clusters)
        return expand(clusters).absolute()
    place = expand(routing.get("clusters") or "clusters")
    if not (place / MANIFEST).is_file():
        raise UserError(
            f"the clusters that {run} was trained with are not at {place}", "say where they are: --clusters CLUSTERS"
        )
    return place.absolute()


def routing_of(run: str) -> Mapping[str, Any]:
    """The [routing] of a run's recipe. Raises UserError where there is none, or one that knows no clusters."""
    from sslcli.evaluation.opening import open_subject
    from sslcli.recipe import load_recipe

    recipe = recipe_of(run)
    if recipe is None:
        open_subject(run)  # says what is wrong with RUN, if something is
        raise no_mixture(run)
    routing = load_recipe(recipe).document.get("routing")
    if not routing:
        raise no_mixture(run)
    if "clusters" not in routing:
        raise UserError(
            f"{run} routes its tokens one by one ({routing.get('name')}): no expert is that of a cluster",
            "it takes a run that was trained with moce.cluster or moce.fixed",
        )
    return dict(routing)


def recipe_of(run: str) -> Path | str | None:
    """The recipe of a run, of a checkpoint, of weights in a run, or of `random:RECIPE`."""
    from sslcli.training.checkpoint import MODEL
    from sslcli.training.runs import RECIPE

    form, _, name = run.partition(":")
    path = expand(name if form == "random" else run)
    home = path.resolve().parent.parent if (path / MODEL).is_file() else path if path.is_dir() else path.parent
    if (home / RECIPE).is_file() and path.exists():
        return home / RECIPE
    return name if form == "random" else None


def no_mixture(run: str) -> UserError:
    """The error for an ordinary backbone."""
    return UserError(f"{run} is no mixture of experts", "train one: sslcli pretrain moce/tiny")


def explained(problem: UserError, run: str, place: Path) -> UserError:
    """An error of opening, said better where another number of clusters is the reason."""
    misfit = re.search(r"size mismatch for \S*\bcentroids|\bcentroids is \[", problem.message)
    return other_clusters(run, place) if misfit else problem


def refuse_other_clusters(run: str, place: Path, layers: Mapping[int, Any], clusters: "Clusters") -> None:
    """The centroids that were saved with the run are those of its clusters."""
    for layer in layers.values():
        own = layer.routing.centroids
        if own.shape != clusters.centroids.shape or not bool((own == clusters.centroids.to(own)).all()):
            raise other_clusters(run, place)


def other_clusters(run: str, place: Path) -> UserError:
    """The error for clusters that are not those of the run."""
    return UserError(
        f"the clusters in {place} are not those that {run} was trained with: their centroids differ",
        "say where those are: --clusters CLUSTERS",
    )


def describe(run: str, subject: "Subject") -> dict[str, Any]:
    """What `config.json` says of the mixture; made of its recipe where it was not saved yet."""
    from sslcli.nn.stored import read_card

    try:
        return read_card(expand(run))
    except UserError:
        recipe = subject.recipe
    backbone = {"name": recipe["backbone"]["name"]} | {
        "options": {key: value for key, value in recipe["backbone"].items() if key != "name"}
    }
    step = re.search(r"step-(\d+)", subject.said)
    exported = recipe.get("teacher", {}).get("export", False)
    return {
        "backbone": backbone,
        **subject.card.document(),
        "pool": subject.made_by.get("pool", "auto"),
        "recipe": recipe["name"],
        "network": "teacher" if exported else "student",
        **({"step": int(step[1])} if step else {}),
    }
