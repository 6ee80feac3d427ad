"""Which pictures a figure shows: evenly spread over those that were named, as the backbone sees them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.data.fingerprint import spread
from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.data.sources import split_named, splits_of
from sslcli.data.splits import ROLES, choose, role_of
from sslcli.errors import RunError, UserError, did_you_mean
from sslcli.evaluation.card import Card, normalise, show
from sslcli.evaluation.trial import Labelled, Sets, Trial, labels_of
from sslcli.evaluation.vote import check_finite

ATTEMPTS = 100  # pictures after a broken one


@dataclass(frozen=True)
class Sample:
    """Some pictures: their places in the source, and as they are shown, uint8 `[B, S, S, 3]`."""

    source: Source
    places: tuple[int, ...]
    crops: NDArray[np.uint8]
    card: Card

    @property
    def images(self) -> Tensor:
        """As the backbone takes them, `[B, 3, S, S]`."""
        return normalise(torch.from_numpy(self.crops), self.card)

    @property
    def names(self) -> list[str]:
        """Where a person finds them."""
        return [self.source.name(place) for place in self.places]


def sample(trial: Trial, pictures: int, seed: int, *, card: Card | None = None) -> Sample:
    """So many of the trial's pictures to look at, fewer where there are no more. Raises UserError."""
    source = pictures_of(trial)
    return read(source, evenly(len(source), pictures, seed), card or trial.card)


def pictures_of(trial: Trial) -> Source:
    """Pictures to look at: the part to be tested on where there are labels, else any. Raises UserError."""
    try:
        return trial.judged.test
    except UserError as unlabelled:
        named = trial.asked[0]
        if not (named.data or named.test):
            raise unlabelled
        return without_labels(named)


def vectors_of_tested(trial: Trial) -> Labelled:
    """Vectors and labels of the pictures that are tested; those to learn from, which may be many, are not looked at.

    Where vectors are centred, it is by the mean of the tested ones. Raises UserError without labels.
    """
    source = trial.judged.test
    (table,) = trial.tables([source])
    check_finite(table.features, "test")
    rows = table.features - table.features.mean(dim=0) if trial.subject.centred else table.features
    return Labelled(rows, labels_of(source, table), table.positions)


def of_another(trial: Trial, run: str) -> Trial:
    """The same trial of another RUN, on the same pictures."""
    return replace(trial, run=run, sets=trial.asked)


def numbers_of(names: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The numbers of classes by name; all that there are where none is named. Raises UserError."""
    for name in names:
        if name not in classes:
            raise UserError(f"there is no class '{name}'", did_you_mean(name, classes))
    return [classes.index(name) for name in dict.fromkeys(names)] or list(range(len(classes)))


def without_labels(named: Sets) -> Source:
    """The pictures of a set that need no labels: its test split, else its validation split, else all."""
    name, chosen = split_named(named.test or named.data)
    splits = splits_of(name)
    roles = {role_of(split): split for split in splits}
    usual = next((roles[role] for role in ("test", "validation") if role in roles), None)
    return splits[choose(splits, chosen or usual or next(iter(ROLES)), name)]()


def evenly(count: int, most: int, seed: int) -> list[int]:
    """Up to `most` numbers below `count`, evenly spread; the seed moves all of them by the same."""
    places = spread(count, most)
    gap = count // len(places) if places else 1
    shift = int(np.random.default_rng(seed).integers(gap))
    return [place + shift for place in places]


def read(source: Source, places: Sequence[int], card: Card) -> Sample:
    """These pictures as they are shown; one that cannot be read is replaced by the next that can."""
    found: dict[int, NDArray[np.uint8]] = {}
    for place in places:
        for other in range(place, min(place + ATTEMPTS, len(source))):
            try:
                if other not in found:
                    found[other] = show(source.image(other), card)
                    break
            except BrokenPicture:
                continue
    if not found:
        raise RunError(f"no picture of {source.spec} can be read", "look at the files, or name other pictures")
    return Sample(source, tuple(found), np.stack(list(found.values())), card)
