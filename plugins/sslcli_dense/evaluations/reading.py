"""Scenes in batches, read by workers; what is broken is counted, what is wrong stops."""

from collections.abc import Iterator
from typing import Any

from sslcli.data.broken import BrokenCount
from sslcli.data.loader import in_order
from sslcli.data.pictures import BrokenPicture
from sslcli.errors import UserError
from sslcli.evaluation.trial import Trial
from sslcli_dense.scenes import Part, Scene, Shown


def scenes_of(part: Part, side: int, batch: int, broken: BrokenCount) -> Iterator[list[Scene]]:
    """The scenes of a part in order, a batch at a time. Raises UserError, and RunError when too many are broken."""
    for shown in in_order(Shown(part, side), batch, list):
        good = list(sound(shown, broken))
        if good:
            yield good


def sound(shown: list[Any], broken: BrokenCount) -> Iterator[Scene]:
    """The scenes that could be read."""
    for scene in shown:
        if isinstance(scene, BrokenPicture):
            broken.add([(scene.path, scene.reason)])
        elif isinstance(scene, UserError):
            raise scene
        else:
            yield scene


def folder_of(trial: Trial) -> str:
    """The folder that `--data` names. Raises UserError where it is missing, or where two sets are named."""
    sets = trial.sets[0] if trial.sets else None
    if sets is None or not sets.data:
        raise UserError("which pictures and labels to judge on is not said", "name their folder: --data DIR")
    return sets.data
