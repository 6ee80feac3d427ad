"""Masks of all pictures of a source into a folder: by several processes, and going on where it was stopped.

    for some pictures at a time:  coarse maps of a backbone (where there is one) -> workers: decode, estimate, write

Each mask is whole or not there, so whatever ends the command, the next one passes over what is done.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from sslcli.data.fingerprint import spread
from sslcli.data.loader import as_is, ignore_signals, served
from sslcli.data.masks import mask_file, read_manifest, usable, write_manifest, write_mask
from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.data.sources import absolute
from sslcli.errors import RunError, UserError
from sslcli_saliency.estimation import Settings, estimate
from sslcli_saliency.maps import Map

AT_ONCE = 4096  # pictures whose coarse maps are held
CoarseMaps = Callable[[Sequence[int]], Mapping[int, Map]]  # of some pictures by their numbers; broken ones are left out


@dataclass(frozen=True)
class Outcome:
    """What became of one picture."""

    index: int
    area: float = 0.0  # the object's share of the picture
    whole: bool = False  # no object was found: the mask is true everywhere, and the picture stays as it is
    broken: tuple[str, str] | None = None  # path and reason


@dataclass
class Tally:
    """What became of all pictures."""

    pictures: int
    present: int = 0  # masks that were there already
    written: int = 0
    whole: int = 0  # of those written
    areas: float = 0.0  # summed, of the others
    broken: list[tuple[str, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Pictures that are through."""
        return self.present + self.written + len(self.broken)

    @property
    def mean_area(self) -> float | None:
        """Of the objects that were found now, as a share of their pictures; None where none was."""
        found = self.written - self.whole
        return round(self.areas / found, 4) if found else None

    @property
    def per_second(self) -> float:
        """Pictures a second, since the beginning."""
        return (self.written + len(self.broken)) / max(time.monotonic() - self.began, 1e-9)

    def add(self, outcome: Outcome) -> None:
        """Count one picture."""
        if outcome.broken is not None:
            self.broken.append(outcome.broken)
            return
        self.written += 1
        self.whole += outcome.whole
        self.areas += 0.0 if outcome.whole else outcome.area


class Estimating(Dataset[Outcome | RunError]):
    """Estimates and writes the mask of one picture when it is asked for; in a worker, or in the main process.

    A disk that takes no more comes as a value, without the worker's traceback.
    """

    def __init__(self, source: Source, root: Path, settings: Settings, coarse: Mapping[int, Map] | None) -> None:
        self.source, self.root, self.settings, self.coarse = source, root, settings, coarse

    def __getitem__(self, index: int) -> Outcome | RunError:
        try:
            image = self.source.image(index)
        except BrokenPicture as broken:
            return Outcome(index, broken=(broken.path, broken.reason))
        found = estimate(image, self.settings, None if self.coarse is None else self.coarse[index]).mask
        use = usable(found)
        file = mask_file(self.root, self.source.key(index))
        try:
            write_mask(file, found if use else np.ones_like(found))
        except OSError as error:
            return RunError(
                f"cannot write {file}: {error.strerror or error}", "make room; then the same command goes on"
            )
        return Outcome(index, float(found.mean()), whole=not use)


def compute(
    source: Source,
    root: Path,
    settings: Settings,
    *,
    coarse: CoarseMaps | None = None,
    limit: int = 0,
    workers: int = 0,
) -> Iterator[tuple[Tally, Outcome | None]]:
    """Write the masks that are not there yet, and tell after each picture how it stands; once before the first.

    `limit` takes so many pictures, evenly spread.
    """
    wanted = spread(len(source), limit or len(source))
    todo = [index for index in wanted if not mask_file(root, source.key(index)).is_file()]
    tally = Tally(len(wanted), present=len(wanted) - len(todo))
    yield tally, None
    for start in range(0, len(todo), AT_ONCE):
        some = todo[start : start + AT_ONCE]
        maps = None if coarse is None else coarse(some)
        shown = some if maps is None else [index for index in some if index in maps]
        for outcome in outcomes(Estimating(source, root, settings, maps), shown, workers):
            tally.add(outcome)
            yield tally, outcome


def outcomes(estimating: Estimating, indices: Sequence[int], workers: int) -> Iterator[Outcome]:
    """What became of each picture, in order, by some worker processes or by this one."""
    loader: DataLoader[Outcome | RunError] = DataLoader(
        estimating,
        batch_size=None,
        sampler=indices,
        num_workers=min(workers, len(indices)),
        collate_fn=as_is,
        worker_init_fn=ignore_signals,
    )
    for outcome in served(loader):
        if isinstance(outcome, RunError):
            raise outcome
        yield outcome


def claim(source: Source, root: Path, method: str, settings: Settings, *, again: bool) -> None:
    """Note in the folder what its masks are made of and how; refuse one that holds others, or clear these away."""
    manifest = {
        "data": absolute(source.spec),
        "fingerprint": source.fingerprint,
        "pictures": len(source),
        "method": method,
        "options": asdict(settings),
    }
    noted = read_manifest(root)
    if not noted and not again and root.is_dir() and any(root.iterdir()):
        raise UserError(
            f"{root} is not empty, and nothing says that it holds masks",
            "name another folder, or overwrite with --again",
        )
    differing = [name for name in ("fingerprint", "method", "options") if noted and noted.get(name) != manifest[name]]
    if differing and not again:
        raise other_masks(root, differing[0], noted, manifest)
    if again:
        for index in range(len(source)):
            mask_file(root, source.key(index)).unlink(missing_ok=True)
    write_manifest(root, manifest)


def other_masks(root: Path, name: str, noted: Mapping[str, Any], manifest: Mapping[str, Any]) -> UserError:
    """The error for a folder with masks that were made otherwise."""
    shown = "data" if name == "fingerprint" else name
    if noted.get(shown) == manifest[shown]:
        message = f"{root} holds masks of {manifest['data']} as it was before: its pictures changed since"
    elif shown == "options":
        message = f"{root} holds masks made otherwise: {other_options(noted.get(shown), manifest[shown])}"
    else:
        message = f"{root} holds masks made otherwise: their {shown} was {noted.get(shown)}, now {manifest[shown]}"
    return UserError(message, "name another folder, or overwrite them with --again")


def other_options(noted: Any, asked: Mapping[str, Any]) -> str:
    """Which options differ, as they are typed: `--side was 256, now 128`."""
    former = noted if isinstance(noted, Mapping) else {}
    pairs = {name: (former.get(name), value) for name, value in asked.items() if former.get(name) != value}
    return "; ".join(f"--{name} was {in_words(was)}, now {in_words(now)}" for name, (was, now) in pairs.items())


def in_words(value: float | None) -> str:
    """The value of an option, or that it was left out."""
    return "left out" if value is None else f"{value:g}"
