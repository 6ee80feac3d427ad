"""What an evaluation is given: a backbone, pictures, and features of them that are made once.

trial = Trial("runs/mine", (Sets("demo"),))
trial.subject                                   the backbone, opened when first asked for
judged = trial.judged                           labelled pictures: a part to learn from, a part to be tested on
trial.labelled(judged)                          features and labels of both parts, from the cache or made now
trial.features(source, encoder, "tokens-4")     features of any pictures by any encoder made from the backbone
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.data.broken import BrokenCount
from sslcli.data.cache import cache_folder
from sslcli.data.judged import Judged, open_judged
from sslcli.data.source import Source
from sslcli.disk import expand
from sslcli.errors import Interrupted, RunError, Unwritable, UserError
from sslcli.evaluation import kept
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import Table, best_device
from sslcli.evaluation.filling import fill
from sslcli.evaluation.opening import document_at, open_subject
from sslcli.evaluation.subjects import Subject
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pool
from sslcli.training.runs import RECIPE

Note = Callable[[str], None]
BROKEN_LIMIT = 0.01


@dataclass(frozen=True)
class Sets:
    """Pictures by their SPECs: `data` with splits of its own, or `train` and `test` apart."""

    data: str = ""
    train: str = ""
    test: str = ""

    def __bool__(self) -> bool:
        return bool(self.data or self.train or self.test)


@dataclass(frozen=True)
class Labelled:
    """Features `[N, D]` and labels int64 `[N]` of pictures, and where these stand in their source `[N]`."""

    features: Tensor
    labels: Tensor
    positions: Tensor


@dataclass(frozen=True)
class Trial:
    """A RUN on trial, and how its features are made. Everything is opened when it is first asked for."""

    run: str
    sets: tuple[Sets, ...] = ()  # what a person named; nothing for the run's own
    pool: Pool = "auto"
    processes: int = 1
    cache: bool = True
    broken_limit: float = BROKEN_LIMIT  # the share of pictures that may be left out because they cannot be read
    note: Note = lambda line: None
    beside: "Trial | None" = None  # the trial that this one is a baseline of, where it is one

    @cached_property
    def subject(self) -> Subject:
        """The encoder, how it is shown pictures, and its recipe where it has one. Raises UserError."""
        return open_subject(self.run, self.pool, note=self.note)

    @property
    def backbone(self) -> Backbone:
        """The backbone inside the encoder. Raises UserError where there is none: pixels."""
        backbone = getattr(self.subject.encoder, "backbone", None)
        if not isinstance(backbone, Backbone):
            raise UserError(
                f"{self.run} has no backbone", "name a run, a checkpoint, a backbone.safetensors or timm:NAME"
            )
        return backbone

    @property
    def card(self) -> Card:
        """How pictures are shown to it."""
        return self.subject.card

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The document of its recipe; empty where it has none. That of a run is read without opening the backbone."""
        return self.subject.recipe if self.folder is None else document_at(self.folder / RECIPE)

    @property
    def folder(self) -> Path | None:
        """The folder of the run, where RUN is one."""
        path = expand(self.run)
        return path if (path / RECIPE).is_file() else None

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return best_device()

    @property
    def asked(self) -> tuple[Sets, ...]:
        """The sets that were named, or else the run's own. Raises UserError."""
        return self.sets or (sets_of(self.recipe),)

    @cached_property
    def judged(self) -> Judged:
        """The labelled pictures that were named, or else the run's own. Raises UserError."""
        return open_sets(self.asked[0])

    @classmethod
    def of(cls, subject: Subject, **how: Any) -> "Trial":
        """A trial of what is open already."""
        trial = cls(subject.run, **how)
        trial.__dict__["subject"] = subject
        return trial

    def each(self) -> Iterable["Trial"]:
        """The same trial once for each set that was named."""
        for sets in self.asked:
            other = replace(self, sets=(sets,))
            other.__dict__["subject"] = self.subject
            yield other

    def labelled(self, judged: Judged | None = None, *, centred: bool | None = None) -> tuple[Labelled, Labelled]:
        """Features and labels of the part to learn from and of the part to be tested on.

        They are less the mean of the first part where `centred`, which pixels are unless something else is said.
        """
        judged = judged or self.judged
        sources = (judged.train, judged.test)
        tables = self.tables(sources)
        shift = self.subject.centred if centred is None else centred
        mean = tables[0].features.mean(dim=0) if shift else None
        train, test = (
            Labelled(
                table.features if mean is None else table.features - mean, labels_of(source, table), table.positions
            )
            for source, table in zip(sources, tables)
        )
        return train, test

    def tables(self, sources: Sequence[Source]) -> list[Table]:
        """The encoder's own vectors of each source. Raises RunError when too many pictures are broken, or all."""
        return self.made_or_kept(sources, self.subject.encoder, self.subject.fingerprint, self.card)

    def features(self, source: Source, encoder: nn.Module, name: str, *, card: Card | None = None) -> Table:
        """What another encoder gives, `[B, 3, S, S]` to `[B, ...]`, flattened; `name` tells it apart in the cache."""
        shown = card or self.card
        key = f"{self.subject.fingerprint}/{name}/{shown.document()}"
        (table,) = self.made_or_kept((source,), Flat(encoder), key, shown)
        return table

    def made_or_kept(self, sources: Sequence[Source], encoder: nn.Module, name: str, card: Card) -> list[Table]:
        """A table for each source, mapped into memory: from the cache, or made now and kept, as far as it came."""
        make = partial(fill, encoder, card, processes=self.processes, note=self.note)
        found = self.kept_in_cache(sources, name, make) if self.cache else None
        if found is None:
            with TemporaryDirectory(prefix="sslcli-") as folder:  # what is mapped stays readable when it is gone
                found = kept.tables(Path(folder), name, sources, make)
        broken = self.broken_count(sum(map(len, sources)))
        for table in found:
            broken.add(table.broken)
        for source, table in zip(sources, found):
            if not len(table.features):
                raise RunError(f"no picture of {source.spec} can be read", "look at the files, or name other pictures")
        return found

    def kept_in_cache(self, sources: Sequence[Source], name: str, make: kept.Fill) -> list[Table] | None:
        """The tables; None where the disk does not take them, which costs a note. Raises Interrupted."""
        try:
            return kept.tables(cache_folder("features"), name, sources, make, self.note)
        except Unwritable as failure:
            self.note(f"warning: the features could not be kept: {failure.message}")
            return None
        except KeyboardInterrupt:
            raise Interrupted("interrupted: the features made so far are kept", "the same command goes on") from None

    def broken_count(self, pictures: int) -> BrokenCount:
        """What counts and tells of those of so many pictures that cannot be read, and stops where they are too many."""
        return BrokenCount(
            pictures,
            limit=self.broken_limit,
            warn=lambda text: self.note(f"warning: {text}"),
            knob="--broken-limit",
        )


class Flat(nn.Module):
    """What an encoder gives as one row an image."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """`[B, ...]` as `[B, D]`."""
        rows: Tensor = self.encoder(images).flatten(1)
        return rows


def sets_of(recipe: Mapping[str, Any]) -> Sets:
    """What a run is judged on when nothing is said: what it was probed on, or else what it was trained on."""
    probe = recipe.get("probe", {})
    sets = Sets(probe.get("data", ""), probe.get("train", ""), probe.get("test", ""))
    sets = sets or Sets(recipe.get("data", {}).get("train", ""))
    if not sets:
        raise UserError("what to judge on is not said", "name labelled pictures: '--data demo', or --train and --test")
    return sets


def open_sets(sets: Sets) -> Judged:
    """The labelled pictures."""
    return open_judged(sets.data, sets.train, sets.test)


def labels_of(source: Source, table: Table) -> Tensor:
    """The labels of the pictures that could be read, int64 `[M]`."""
    labels = source.labels()
    assert labels is not None  # open_judged gives labelled sources only
    return torch.tensor(labels[table.positions.numpy()])
