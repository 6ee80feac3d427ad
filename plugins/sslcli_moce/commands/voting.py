"""The tasks of `sslcli moce select-expert`: their pictures among the clusters, and the experts that these elect."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sslcli.disk import expand
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.data.source import Source
    from sslcli.evaluation.subjects import Subject
    from sslcli.evaluation.trial import Trial
    from sslcli_moce.commands.mixture import Mixture
    from sslcli_moce.selection import Ballot, Choice, Vote

Note = Callable[[str], None]
ENDINGS = re.compile(r"(\.parquet|\.tar|\.tgz|\.gz|\.zip)+$")
PATTERN = re.compile(r"[*?\[\]{}]+")
NOT_IN_NAMES = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Task:
    """A data set that wants its experts."""

    name: str  # also of its folder
    spec: str  # as the person wrote it
    source: "Source"


@dataclass(frozen=True)
class Elected:
    """What the pictures of a task voted for, and how sure that is."""

    task: Task
    ballot: "Ballot"
    choice: "Choice"
    cosine: float  # mean, of the pictures with their centroids
    usual: float | None  # the same of the pictures that were clustered, where it is known
    broken: int  # pictures that could not be read
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Poll:
    """How pictures are placed among the clusters of a mixture, and how their votes are counted."""

    mixture: "Mixture"
    encoder: "Trial"  # the dense backbone that the clusters were made with
    vote: "Vote"
    seed: int

    def elect(self, task: Task) -> Elected:
        """The experts of a task. Raises RunError when too many of its pictures are broken."""
        from sslcli_moce.extraction import paths_of
        from sslcli_moce.selection import Ballot, choose, count_votes, doubts

        clusters = self.mixture.clusters
        (table,) = self.encoder.tables([task.source])
        counts, cosine = count_votes(table.features, clusters.centroids)
        ballot = Ballot(counts, paths_of(self.mixture.backbone))
        choice = choose(ballot, self.vote, seed=self.seed)
        usual = clusters.manifest.get("cosine")
        known = usual if isinstance(usual, float) else None
        said = doubts(ballot, choice, cosine, known)
        return Elected(task, ballot, choice, cosine, known, len(table.broken), said)


def open_tasks(specs: Sequence[str], limit: int, note: Note) -> list[Task]:
    """The training pictures of each SPEC. Raises UserError."""
    names = unique(map(name_of, specs))
    return [Task(name, spec, open_limited(spec, limit, note)) for name, spec in zip(names, specs)]


def open_limited(spec: str, limit: int, note: Note) -> "Source":
    """The training pictures of a SPEC, or so many of them, evenly spread. Raises UserError."""
    import numpy as np

    from sslcli.data.fingerprint import spread
    from sslcli.data.sources import open_source
    from sslcli.data.subset import Subset

    source = open_source(spec)
    note(source.said)
    if not len(source):
        raise UserError(f"there are no pictures in {spec}", "name a data set with pictures")
    if not 0 < limit < len(source):
        return source
    return Subset(source, np.array(spread(len(source), limit), np.int64), f"{limit} evenly spread")


def name_of(spec: str) -> str:
    """A task's name, fit for a folder: `living-train` of `parquet:sets/living-train.parquet`."""
    from sslcli.data.sources import SCHEMES, split_named

    named, split = split_named(spec)
    scheme, colon, rest = named.partition(":")
    place = rest if colon and scheme in SCHEMES else named
    parts = place.split("/") if scheme == "hf" else expand(place).absolute().parts
    words = (PATTERN.sub("", ENDINGS.sub("", part)).strip("-_. ") for part in reversed(parts))
    last = next(filter(None, words), "task")
    return NOT_IN_NAMES.sub("-", f"{last}-{split}" if split else last).strip("-.") or "task"


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names, with a number where one was there already; folders may not tell capitals from small letters."""
    known, result = {name.casefold() for name in taken}, []
    for name in names:
        number, own = 2, name
        while own.casefold() in known:
            own, number = f"{name}-{number}", number + 1
        known.add(own.casefold())
        result.append(own)
    return result


def open_encoder(mixture: "Mixture", note: Note) -> "Subject":
    """The dense backbone that the clusters were made with. Raises UserError."""
    from sslcli.evaluation.opening import open_subject
    from sslcli_moce.clusters import ENCODER, MAKE

    folder = mixture.folder / ENCODER
    if not folder.is_dir():
        raise UserError(f"{folder} is not there, so new pictures cannot be placed among the clusters", MAKE)
    return open_subject(str(folder), note=note)
