"""Vectors of pictures with their classes, where there are some: what figures of vectors are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.data.source import Source
from sslcli.errors import UserError
from sslcli.evaluation.features import Table
from sslcli.evaluation.samples import evenly, pictures_of, vectors_of_tested
from sslcli.evaluation.trial import Trial
from sslcli.evaluation.vote import check_finite


@dataclass(frozen=True)
class Vectors:
    """Vectors `[N, D]` of pictures, and the class of each, int64 `[N]`, among `classes`; none without labels."""

    rows: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]

    def take(self, places: Sequence[int]) -> "Vectors":
        """Some of them, in this order."""
        return Vectors(
            self.rows[list(places)], None if self.labels is None else self.labels[list(places)], self.classes
        )

    def unit(self) -> "Vectors":
        """The same, of unit length."""
        return replace(self, rows=normalize(self.rows.float(), dim=1))


def vectors(trial: Trial) -> Vectors:
    """Those of the pictures that are tested, or of any pictures without labels. Raises UserError, RunError."""
    try:
        judged = trial.judged
    except UserError:
        return Vectors(unlabelled(trial, pictures_of(trial)).features, None, ())
    test = vectors_of_tested(trial)
    return Vectors(test.features, test.labels, judged.classes)


def unlabelled(trial: Trial, source: Source) -> Table:
    """Vectors of pictures that need no labels, and where these stand in their source. Raises RunError."""
    (table,) = trial.tables([source])
    check_finite(table.features, "shown")
    return replace(table, features=table.features - table.features.mean(dim=0)) if trial.subject.centred else table


def labelled(trial: Trial) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Vectors `[N, D]`, labels `[N]` and class names of the pictures that are tested. Raises UserError."""
    classes = trial.judged.classes
    test = vectors_of_tested(trial)
    return test.features, test.labels, classes


def members(labels: Tensor, numbers: Sequence[int], most: int, seed: int) -> list[int]:
    """Rows of the pictures of some classes, class after class, at most so many of each, evenly spread."""
    found: list[int] = []
    for number in numbers:
        own = torch.nonzero(labels == number)[:, 0].tolist()
        found += [own[place] for place in evenly(len(own), most, seed)]
    return found


def several(labels: Tensor, numbers: Sequence[int], fewest: int) -> list[int]:
    """Those classes that have so many pictures. Raises UserError where they are not two."""
    if len(numbers) < 2:
        raise UserError("one class alone was chosen, and the figure needs two", "name more: --classes A,B")
    counts = np.bincount(labels.numpy(), minlength=max(numbers) + 1)
    found = [number for number in numbers if counts[number] >= fewest]
    if len(found) < 2:
        raise UserError(
            f"{len(found)} of {len(numbers)} classes have {fewest} pictures to test on, and the figure needs two",
            "name a set with more pictures of each class: --data SPEC",
        )
    return found


def fewer(most: int) -> str:
    """What to do where there are only `most` neighbours."""
    return f"ask for fewer, as in '--k {min(3, most)}'" if most > 0 else "name more pictures: --data SPEC"
