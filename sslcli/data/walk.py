"""Every picture below a folder, in a fixed order and with flat memory: the folder's index.

The index is an Arrow file that loader workers map into memory: `path` (below the root, as bytes, because file names
need not be text) and `label` (which class folder, -1 for none). It is named by a hash of its content and so needs
no upkeep: a folder that changed has another index.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from sslcli.data.cache import cache_folder
from sslcli.errors import RunError, UserError

ENDINGS = frozenset(b"apng avif bmp dib gif j2k jfif jp2 jpe jpeg jpg pbm pgm png pnm ppm tif tiff webp".split())
SCHEMA = pa.schema([("path", pa.binary()), ("label", pa.int32())])
ROWS = 65536  # of one Arrow batch

Picture = tuple[bytes, int]  # path below the root; bytes of the file, -1 for a link to nothing
Place = tuple[int, int]  # device and inode of a folder


@dataclass
class Walk:
    """A walk through a folder, and what it saw besides pictures."""

    root: bytes
    hidden: int = 0  # files and folders
    others: int = 0  # files that are no pictures by their ending
    others_seen: set[bytes] = field(default_factory=set)  # their endings

    def pictures(self, below: bytes = b"", parents: frozenset[Place] = frozenset()) -> Iterator[Picture]:
        """The pictures in one folder and all below it, sorted by name; links are followed, but not in circles."""
        entries, place = entries_of(os.path.join(self.root, below))
        if place in parents:
            return
        prefix = os.path.join(below, b"")
        for entry in entries:
            if entry.name.startswith(b"."):
                self.hidden += 1
            elif entry.is_dir():
                yield from self.pictures(prefix + entry.name, parents | {place})
            elif (size := self.size_of(entry)) is not None:
                yield prefix + entry.name, size

    def size_of(self, entry: os.DirEntry[bytes]) -> int | None:
        """Bytes of a picture's file, -1 for a link to nothing, None for what is no picture."""
        ending = entry.name.rpartition(b".")[2].lower()
        if ending not in ENDINGS:
            self.others += 1
            self.others_seen.add(ending)
            return None
        try:
            found = entry.stat()
        except OSError:
            return -1
        return found.st_size if S_ISREG(found.st_mode) else None  # opening a pipe would wait for ever

    @property
    def ignored(self) -> str:
        """` (7 ignored: 2 hidden, 5 not pictures)`, or nothing."""
        counts = {"hidden": self.hidden, "not pictures": self.others}
        parts = [f"{count} {what}" for what, count in counts.items() if count]
        return f" ({self.hidden + self.others} ignored: {', '.join(parts)})" if parts else ""


def entries_of(folder: bytes) -> tuple[list[os.DirEntry[bytes]], Place]:
    """What lies in a folder, sorted by name, and the folder's identity. Raises UserError."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        at = os.stat(folder)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "name a folder whose folders you may all read"
        raise UserError(f"cannot read the folder {os.fsdecode(folder)}: {reason}", hint) from error
    return entries, (at.st_dev, at.st_ino)


@dataclass(frozen=True)
class Index:
    """The pictures of a folder: where their list lies, and what is known of the whole."""

    file: Path
    digest: str  # of the names and the sizes, in order
    count: int
    classes: tuple[str, ...]  # folders of the first level that hold pictures, sorted


@dataclass
class Draft:
    """What is gathered for an index while walking."""

    digest: Any = field(default_factory=sha256)
    classes: dict[bytes, int] = field(default_factory=dict)
    count: int = 0

    def batch(self, pictures: list[Picture]) -> pa.RecordBatch:
        """The rows of some pictures, in the order of the walk."""
        self.count += len(pictures)
        self.digest.update(b"".join(b"%s\0%d\0" % picture for picture in pictures))
        paths = [path for path, _ in pictures]
        return pa.record_batch([pa.array(paths, pa.binary()), pa.array(map(self.label, paths), pa.int32())], SCHEMA)

    def label(self, path: bytes) -> int:
        """The class of a picture: the first folder on its path."""
        folder, inside, _ = path.partition(b"/")
        return self.classes.setdefault(folder, len(self.classes)) if inside else -1


def index_of(walk: Walk) -> Index:
    """Walk, and leave the index in the cache. Raises UserError and RunError."""
    folder, draft = cache_folder("indexes"), Draft()
    try:
        with TemporaryDirectory(dir=folder) as work:
            written = Path(work) / "index"
            write(written, walk.pictures(), draft)
            file = folder / f"{draft.digest.hexdigest()[:32]}.arrow"
            os.replace(written, file)  # processes that have the old one mapped keep it
    except OSError as error:
        hint = "set SSLCLI_CACHE to a folder that can be written and has room"
        raise RunError(f"cannot write a folder index to {folder}: {error.strerror or error}", hint) from error
    return Index(file, file.stem, draft.count, tuple(name.decode("utf-8", "replace") for name in draft.classes))


def write(file: Path, pictures: Iterator[Picture], draft: Draft) -> None:
    """The pictures of a walk into an Arrow file, a batch at a time."""
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        while rows := list(islice(pictures, ROWS)):
            writer.write_batch(draft.batch(rows))
