"""Labelled pictures to judge a backbone on: a part to learn the classes from, and a part to be tested on."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sslcli.data.pictures import DEFAULT_MEGAPIXELS
from sslcli.data.source import Source, Splits
from sslcli.data.sources import split_named, splits_of
from sslcli.data.splits import choose, role_of
from sslcli.data.subset import Relabelled, Subset
from sslcli.errors import UserError, did_you_mean
from sslcli.words import counted

HELD_OUT = 5  # one in five


@dataclass(frozen=True)
class Judged:
    """Two labelled sources with the same class numbers, and where they come from in words."""

    train: Source
    test: Source
    said: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of both."""
        return self.train.classes


def open_judged(
    data: str = "",
    train: str = "",
    test: str = "",
    seed: int = 0,
    *,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
) -> Judged:
    """The pictures that `--data`, or `--train` and `--test`, name. Raises UserError."""
    if bool(train) != bool(test) or bool(data) == bool(train):
        raise UserError(
            "what to judge on is not clear", "name either --data SPEC, or both --train SPEC and --test SPEC"
        )
    if data:
        return from_one(data, seed, max_megapixels)
    return from_two(opened(train, "train", max_megapixels), opened(test, "test", max_megapixels))


def from_one(data: str, seed: int, max_megapixels: float) -> Judged:
    """A set's own splits, or a part of it held out when it has no labelled test split."""
    name, chosen = split_named(data)
    splits = splits_of(name, max_megapixels=max_megapixels)
    first = choose(splits, chosen or "train", name)
    train = labelled(splits[first]())
    tests = [] if chosen else [split for split in test_splits(splits) if split != first]
    test, passed = first_labelled(splits, tests)
    if test is None:
        return held_out(train, seed, passed)
    return from_two(train, test, passed)


def test_splits(splits: Iterable[str]) -> list[str]:
    """The splits to test on: test before validation."""
    names = list(splits)
    return [name for role in ("test", "validation") for name in names if role_of(name) == role]


def first_labelled(splits: Splits, names: list[str]) -> tuple[Source | None, str]:
    """The first of these splits whose pictures all have labels, and a word on those passed over."""
    passed = ""
    for name in names:
        source = splits[name]()
        labels = source.labels()
        if labels is not None and (labels >= 0).all():
            return source, passed
        passed += f"; the split '{name}' has no labels"
    return None, passed


def opened(spec: str, wanted: str, max_megapixels: float) -> Source:
    """The labelled pictures of `--train` or `--test`: the split that it names, or its own of that role."""
    name, chosen = split_named(spec)
    splits = splits_of(name, max_megapixels=max_megapixels)
    if chosen:
        return labelled(splits[choose(splits, chosen, name)]())
    if len(splits) == 1:
        return labelled(next(iter(splits.values()))())
    if wanted == "train":
        return labelled(splits[choose(splits, wanted, name)]())
    source, passed = first_labelled(splits, test_splits(splits))
    if source is None:
        raise UserError(
            f"no labelled split to test on in {spec}{passed}", f"name one of {', '.join(splits)}: {name}@SPLIT"
        )
    return source


def labelled(source: Source) -> Source:
    """The source itself, when all its pictures have labels. Raises UserError."""
    labels = source.labels()
    if labels is None:
        hint = "judging needs classes: a folder for each, or a column named label"
        raise UserError(f"no labels in {source.spec}", hint)
    missing = np.flatnonzero(labels < 0)
    if len(missing):
        message = f"{len(missing)} of {len(labels)} pictures in {source.spec} have no label"
        raise UserError(message, f"the first is {source.name(int(missing[0]))}")
    return source


def from_two(train: Source, test: Source, more: str = "") -> Judged:
    """Two sources whose classes agree by name."""
    many, few = counted(len(train), "picture"), counted(len(test), "picture")
    said = f"classes learnt from {train.spec} ({many}), tested on {test.spec} ({few}){more}"
    if train.fingerprint == test.fingerprint:
        said += "; these are the same pictures, so the result says nothing"
    return Judged(of_several_classes(train), matched(test, train), said)


def of_several_classes(train: Source) -> Source:
    """The source itself, when there is something to tell apart in it. Raises UserError."""
    labels = train.labels()
    assert labels is not None  # it was checked to be labelled
    if len(np.unique(labels)) < 2:
        raise UserError(f"all pictures of {train.spec} are of one class", "judging needs at least two class folders")
    return train


def matched(test: Source, train: Source) -> Source:
    """The test pictures under the class numbers of the training set, by class name. Raises UserError."""
    if test.classes == train.classes:
        return test
    known = {name: number for number, name in enumerate(train.classes)}
    labels = test.labels()
    assert labels is not None
    for number in np.unique(labels):
        if (name := test.classes[number]) not in known:
            raise UserError(f"class '{name}' of {test.spec} is not in {train.spec}", did_you_mean(name, known))
    return Relabelled(test, train.classes, np.array([known.get(name, -1) for name in test.classes], np.int64))


def held_out(source: Source, seed: int, more: str = "") -> Judged:
    """A stratified fifth of a source held out to test on."""
    labels = of_several_classes(source).labels()
    assert labels is not None
    held = stratified(labels, seed)
    if not held.any():
        raise UserError(f"too few pictures in {source.spec} to hold some out", "name the two parts: --train and --test")
    said = (
        f"no test split in {source.spec}{more}: a fifth of each class is held out "
        f"({int(held.sum())} of {len(held)} pictures, seed {seed})"
    )
    rest, part = np.flatnonzero(~held), np.flatnonzero(held)
    return Judged(Subset(source, rest, "the rest"), Subset(source, part, f"a fifth held out, seed {seed}"), said)


def stratified(labels: NDArray[np.int64], seed: int, *, one_in: int = HELD_OUT) -> NDArray[np.bool_]:
    """Which pictures `[N]` are held out: one in so many of each class, and one at least where a class has two."""
    held = np.zeros(len(labels), dtype=np.bool_)
    rng = np.random.default_rng(seed)
    for number in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == number))
        count = max(round(len(members) / one_in), 1) if len(members) > 1 else 0
        held[members[:count]] = True
    return held
