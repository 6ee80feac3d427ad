"""The identity of data, as far as is cheap: names and sizes of all files, and what some of them hold.

It is the same for a copy on another disk, so neither folders above the data nor times count. It sees every file that
came, went, was renamed or changed its size. A change that keeps the size is seen in sampled files only: in 64 spread
over a folder, and in the first and last 32 KiB of a parquet file or shard.
"""

import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

SAMPLED = 64  # files of a folder that are looked into
PART = 32768  # bytes at each end of a file


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """One name for several facts, in order: 32 hexadecimal digits."""
    digest = sha256()
    for part in parts:
        data = os.fsencode(part)
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()[:32]


def fingerprint_of_files(files: Sequence[Path], *more: str) -> str:
    """Covers the names of files, their sizes and their ends; not where they lie."""
    facts = [(file.name, str(file.stat().st_size), ends_of(file)) for file in files]
    return fingerprint([part for fact in facts for part in fact] + list(more))


def spread(count: int, most: int = SAMPLED) -> list[int]:
    """Up to `most` numbers below `count`, evenly spread."""
    sampled = min(count, most)
    return [number * count // sampled for number in range(sampled)]


def ends_of(file: Path) -> bytes:
    """The first and the last bytes of a file; nothing when it cannot be read."""
    try:
        with open(file, "rb") as data:
            head = data.read(PART)
            data.seek(max(os.fstat(data.fileno()).st_size - PART, 0))
            return head + data.read(PART)
    except OSError:
        return b""
