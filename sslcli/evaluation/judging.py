"""`sslcli eval knn`: a RUN and labelled pictures to accuracies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.data.broken import BrokenCount
from sslcli.data.judged import Judged, open_judged
from sslcli.data.source import Source
from sslcli.errors import UserError
from sslcli.evaluation import kept
from sslcli.evaluation.encoders import Pool
from sslcli.evaluation.features import Table, best_device, extract
from sslcli.evaluation.opening import open_subject
from sslcli.evaluation.spread import extract_in_processes
from sslcli.evaluation.subjects import Subject
from sslcli.evaluation.vote import KnnResult, check_ks, knn
from sslcli.training.runs import RECIPE

USUAL_KS = (10, 20, 100)
Note = Callable[[str], None]


@dataclass(frozen=True)
class Sets:
    """The labelled pictures by their SPECs: `data` with splits of its own, or `train` and `test` apart."""

    data: str = ""
    train: str = ""
    test: str = ""

    def __bool__(self) -> bool:
        return bool(self.data or self.train or self.test)


@dataclass(frozen=True)
class KnnOptions:
    """How to judge; `ks` are 10, 20 and 100 when left out, as far as there are as many training pictures."""

    ks: tuple[int, ...] | None = None
    temperature: float = 0.07
    pool: Pool = "auto"
    processes: int = 1
    cache: bool = True
    broken_limit: float = 0.01  # the share of pictures that may be left out because they cannot be read


@dataclass(frozen=True)
class KnnReport:
    """Accuracies, and what they were measured on."""

    run: str
    judged: str  # what RUN turned out to be
    data: str
    train: int  # pictures
    test: int
    width: int  # of the features
    classes: int
    temperature: float
    results: tuple[KnnResult, ...]

    def document(self) -> dict[str, Any]:
        """The report as plain data; accuracies are shares."""
        facts = asdict(self)
        results = [asdict(result) for result in self.results]
        head = {"protocol": "knn", "run": self.run, "data": self.data, "results": results}
        return head | {name: fact for name, fact in facts.items() if name not in head}


def judge_knn(
    run: str, sets: Sets | None = None, options: KnnOptions | None = None, *, note: Note = lambda line: None
) -> KnnReport:
    """Judge what RUN names on labelled pictures: those of its recipe when `sets` are left out. Raises UserError."""
    options = options or KnnOptions()
    check_temperature(options.temperature)
    subject = open_subject(run, options.pool, note=note)
    judged = open_sets(sets or sets_of(subject.recipe))
    if options.ks is not None:
        check_ks(options.ks, len(judged.train))
    tables = tables_of(subject, (judged.train, judged.test), options, note)
    train, test = (table.features for table in tables)
    if subject.centred:
        train, test = (features - tables[0].features.mean(dim=0) for features in (train, test))
    labels = [labels_of(source, table) for source, table in zip((judged.train, judged.test), tables)]
    results = knn(
        train,
        labels[0],
        test,
        labels[1],
        ks=options.ks or usual_ks(len(train)),
        temperature=options.temperature,
        classes=len(judged.classes),
        device=best_device(),
    )
    return KnnReport(
        run,
        subject.said,
        judged.said,
        len(train),
        len(test),
        train.shape[1],
        len(judged.classes),
        options.temperature,
        tuple(results),
    )


def judge_baselines(
    run: str, sets: Sets | None = None, options: KnnOptions | None = None, *, note: Note = lambda line: None
) -> list[KnnReport]:
    """What a run has to beat, on the same pictures: its own random start, where it has a recipe, and raw pixels."""
    options = options or KnnOptions()
    sets = sets or sets_of(open_subject(run, options.pool, note=note).recipe)
    begun = [f"random:{run}"] if (Path(run).expanduser() / RECIPE).is_file() else []
    return [judge_knn(baseline, sets, options, note=note) for baseline in (*begun, "pixels")]


def check_temperature(temperature: float) -> None:
    """Refuse what the vote cannot be divided by."""
    if not temperature > 0:
        raise UserError(f"the temperature must be above 0, not {temperature:g}", "0.07 is the usual one")


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


def usual_ks(samples: int) -> tuple[int, ...]:
    """The usual numbers of neighbours, as far as so many training pictures could be read."""
    return tuple(k for k in USUAL_KS if k <= samples) or (samples,)


def tables_of(subject: Subject, sources: Sequence[Source], options: KnnOptions, note: Note) -> list[Table]:
    """Features of each source, from the cache or made now. Raises RunError when too many pictures are broken."""
    keys = [kept.key_of(subject.fingerprint, source) if options.cache else "" for source in sources]
    tables = [kept.read(key) if key else None for key in keys]
    missing = [number for number, table in enumerate(tables) if table is None]
    note(f"features: {len(sources) - len(missing)} of {len(sources)} parts are in the cache")
    for number, table in zip(missing, made(subject, [sources[number] for number in missing], options, note)):
        tables[number] = table
        if options.cache:
            kept.write(keys[number], table, note=note)
    whole = [table for table in tables if table is not None]
    broken = BrokenCount(
        sum(map(len, sources)),
        limit=options.broken_limit,
        warn=lambda text: note(f"warning: {text}"),
        knob="--broken-limit",
    )
    for table in whole:
        broken.add(table.broken)
    return whole


def made(subject: Subject, sources: Sequence[Source], options: KnnOptions, note: Note) -> Iterable[Table]:
    """Features of each source, extracted here or by several processes."""
    if options.processes > 1 and sources:
        note(f"extracting features of {sum(map(len, sources))} pictures by {options.processes} processes")
        return extract_in_processes(subject.run, options.pool, sources, processes=options.processes)
    return (extract(subject.encoder, source, subject.card, note=note) for source in sources)


def labels_of(source: Source, table: Table) -> Tensor:
    """The labels of the pictures that could be read, int64 `[M]`."""
    labels = source.labels()
    assert labels is not None  # open_judged gives labelled sources only
    return torch.tensor(labels[table.positions.numpy()])
