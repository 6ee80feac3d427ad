"""Tables of features kept on disk, by what they depend on: weights, how pictures are shown, the pictures.

KEY/features.npy     float32 [M, D], which a Table maps into memory: it need not fit there
KEY/positions.npy    int64 [M]
KEY/table.json       what could not be read, and a hash of the numbers; written last. A damaged table counts as none
KEY.blocks/          what is made already of a table that is not whole yet

They lie under ~/.cache/sslcli/features (or $SSLCLI_CACHE/features), and none is ever out of date.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sslcli.data.source import Source
from sslcli.disk import settle, write_whole
from sslcli.errors import Unwritable
from sslcli.evaluation.blocks import BLOCK, Blocks
from sslcli.evaluation.features import Note, Table
from sslcli.evaluation.filling import Job
from sslcli.evaluation.subjects import content

FORMAT = 2  # of tables and of blocks
FEATURES, POSITIONS, SAID, LOCK = "features.npy", "positions.npy", "table.json", "lock"
ROOM = "make room, or set SSLCLI_CACHE (with --no-cache: TMPDIR)"
Fill = Callable[[Sequence[Job]], None]


def key_of(subject: str, source: Source) -> str:
    """The name of a table: a hash of the subject's fingerprint and of the source's."""
    facts = json.dumps([FORMAT, subject, source.fingerprint, len(source)])
    return hashlib.sha256(facts.encode()).hexdigest()


def tables(
    shelf: Path, subject: str, sources: Sequence[Source], fill: Fill, note: Note = lambda line: None
) -> list[Table]:
    """A table for each source: as the folder `shelf` has it, or made now by `fill` and kept there.

    Another process that makes the same table is waited for. Raises Unwritable.
    """
    keys = [key_of(subject, source) for source in sources]
    found = whole(shelf, set(keys))
    for key in found:
        shutil.rmtree(shelf / f"{key}.blocks", ignore_errors=True)  # of one that was killed while it took them away
    note(f"features: {sum(key in found for key in keys)} of {len(keys)} parts are in the cache")
    wanted = {key: source for key, source in sorted(zip(keys, sources), key=lambda pair: pair[0]) if key not in found}
    jobs = {key: Job(source, Blocks(shelf / f"{key}.blocks", len(source), BLOCK)) for key, source in wanted.items()}
    with ExitStack() as locks:
        for job in jobs.values():
            locks.enter_context(alone(job.blocks.folder, note))
        found |= whole(shelf, jobs)  # what another process has made meanwhile
        fill([job for key, job in jobs.items() if key not in found])
        for key, job in jobs.items():
            # read again: where there are no locks, another process may have made it and taken its blocks away
            found[key] = found.get(key) or read(shelf / key) or gathered(job.blocks, shelf / key)
            shutil.rmtree(job.blocks.folder, ignore_errors=True)
    return [found[key] for key in keys]


def whole(shelf: Path, keys: Iterable[str]) -> dict[str, Table]:
    """Those of the tables that are there, and not damaged."""
    found = {key: read(shelf / key) for key in keys}
    return {key: table for key, table in found.items() if table is not None}


@contextmanager
def alone(folder: Path, note: Note) -> Iterator[None]:
    """A folder, made if need be, that no other process fills meanwhile."""
    handle = opened_in(folder)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("another process makes these features: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)  # whoever had it took the folder away if the table is whole now
        except OSError:
            pass  # a file system without locks: at worst the same is done twice
        yield
    finally:
        os.close(handle)  # and the lock is gone


def opened_in(folder: Path, attempts: int = 10) -> int:
    """A file to be locked, in a folder that is made if need be. Raises Unwritable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what is open for writing
    except OSError as failure:
        if isinstance(failure, FileNotFoundError) and attempts:  # another process has just taken the folder away
            return opened_in(folder, attempts - 1)
        raise Unwritable(f"cannot write {folder}: {failure.strerror}", ROOM) from failure


def gathered(blocks: Blocks, folder: Path) -> Table:
    """The table of its blocks, of which one is in memory at a time, written into `folder`. Raises Unwritable."""
    width = 0
    places: list[Tensor] = []
    broken: list[tuple[str, str]] = []
    for block in range(len(blocks)):
        part = blocks.read(block)
        width = max(width, part.features.shape[1])
        places.append(part.positions)
        broken += part.broken
    rows = sum(map(len, places))
    features = (blocks.read(block).features for block in range(len(blocks)))
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        digests = [write_rows(folder / FEATURES, "<f4", (rows, width), features)]
        digests.append(write_rows(folder / POSITIONS, "<i8", (rows,), places))
        said = json.dumps({"broken": broken, "sha256": digests})
        write_whole(folder / SAID, lambda path: path.write_text(said, encoding="utf-8"))
    except OSError as failure:
        shutil.rmtree(folder, ignore_errors=True)  # a full disk has no room for half a table
        raise Unwritable(f"cannot write {folder}: {failure.strerror}", ROOM) from failure
    table = read(folder)
    if table is None:
        raise Unwritable(f"what was written to {folder} cannot be read back", "look after the disk")
    return table


def write_rows(file: Path, kind: str, shape: tuple[int, ...], parts: Iterable[Tensor]) -> str:
    """An array of NumPy's format from its parts, and the hash of its numbers."""
    digest = hashlib.sha256()
    with file.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
        for part in parts:
            digest.update(content(part))
            out.write(content(part))
    settle(file)
    return digest.hexdigest()


def read(folder: Path) -> Table | None:
    """A table that was kept, mapped into memory; None when there is none that is whole."""
    try:
        said = json.loads((folder / SAID).read_text(encoding="utf-8"))
        arrays = [np.load(folder / name, mmap_mode="c") for name in (FEATURES, POSITIONS)]  # a change stays in memory
        features, positions = (torch.from_numpy(array) for array in arrays)
        if said["sha256"] != [hashlib.sha256(content(tensor)).hexdigest() for tensor in (features, positions)]:
            return None
        return Table(features, positions, tuple((path, reason) for path, reason in said["broken"]))
    except (OSError, EOFError, KeyError, TypeError, ValueError):
        return None
