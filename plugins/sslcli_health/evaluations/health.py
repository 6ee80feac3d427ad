"""`sslcli eval health`: how well features are, by measures that read no labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sslcli.data.fingerprint import spread
from sslcli.data.part import open_part
from sslcli.data.pictures import DEFAULT_MEGAPIXELS
from sslcli.data.source import Source
from sslcli.data.sources import open_source
from sslcli.data.subset import Subset
from sslcli.errors import UserError
from sslcli.evaluation.features import Table
from sslcli.evaluation.reports import Report
from sslcli.evaluation.trial import Trial
from sslcli.evaluation.vote import check_finite
from sslcli_health.evaluations.rows import Looked, rows_of
from sslcli_health.evaluations.views import features_of_views, making_of
from sslcli_health.options import HealthOptions

FEWEST = 8  # pictures


def judge(options: HealthOptions, trial: Trial) -> Report:
    """A row for each measure, of pictures and of augmented views of some of them."""
    source = pictures_of(trial)
    some = source if len(source) <= options.pictures else evenly(source, options.pictures)
    (table,) = trial.tables((some,))
    if len(table.features) < FEWEST:
        found = f"{source.spec} has {len(table.features)} that can be read"
        raise UserError(f"health needs {FEWEST} pictures, and {found}", "name more: --data SPEC")
    check_finite(table.features, "the")
    mean = table.features.mean(dim=0) if trial.subject.centred else torch.zeros(())
    views, facts = views_of(options, trial, some, table)
    looked = Looked(table.features - mean, None if views is None else views - mean, options.clusters, options.seed)
    shape = {"pictures": len(table.features), "width": table.features.shape[1]}
    said = f"{source.spec}, labels not read"
    return Report("health", trial.run, trial.subject.said, said, rows_of(looked), shape | facts)


def views_of(
    options: HealthOptions, trial: Trial, source: Source, table: Table
) -> tuple[torch.Tensor | None, dict[str, Any]]:
    """Features of views, of pictures that could be read, and how they were made; nothing where none are wanted."""
    if options.view_pictures == 0:
        return None, {}
    places = table.positions[spread(len(table.positions), options.view_pictures)].tolist()
    making = making_of(trial)
    trial.note(f"{options.views} views of each of {len(places)} pictures: {making.said}")
    features = features_of_views(trial, making, source, places, options.views, options.seed)
    check_finite(features.flatten(0, 1), "augmented")
    return features, {"views": f"{options.views} of each of {len(features)} pictures: {making.said}"}


def pictures_of(trial: Trial) -> Source:
    """The pictures that were named, or those that the run was trained on. Raises UserError."""
    asked = trial.beside or trial
    if not asked.sets:
        return trained_on(asked.recipe)
    sets = asked.sets[0]
    if not sets.data:
        raise UserError("health looks at one set, and reads no labels", "name it by --data SPEC")
    return open_source(sets.data)


def trained_on(recipe: Mapping[str, Any]) -> Source:
    """The training set of a recipe: its split, and the part of it where it names one. Raises UserError."""
    data = recipe.get("data", {})
    if not data.get("train"):
        raise UserError("which pictures to look at is not said", "name some: --data SPEC, such as demo or a folder")
    megapixels = data.get("max_megapixels", DEFAULT_MEGAPIXELS)
    source = open_source(data["train"], data.get("split", "train"), max_megapixels=megapixels)
    return open_part(data["part"], source) if data.get("part") else source


def evenly(source: Source, count: int) -> Subset:
    """So many pictures of a source, evenly spread."""
    return Subset(source, np.array(spread(len(source), count), dtype=np.int64), f"{count} evenly spread")
