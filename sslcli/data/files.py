"""The files that a pattern names: `data/*.parquet`, `shards/train-{000..146}.tar`; and the splits by their names."""

import os
import re
from glob import glob
from pathlib import Path

from sslcli.data.splits import WHOLE, divided, role_of
from sslcli.disk import expand
from sslcli.errors import UserError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def files_of(pattern: str, spec: str) -> list[Path]:
    """The files that a pattern names, sorted. Raises UserError."""
    parts = expanded(str(expand(pattern)))
    found = {Path(name) for part in parts for name in ([part] if os.path.isfile(part) else glob(part, recursive=True))}
    files = sorted(file.absolute() for file in found if file.is_file())
    if not files:
        folders = [file for file in found if file.is_dir()]
        ending = ".tar" if spec.startswith("wds:") else ".parquet"
        hint = f"a folder was named; for what is in it: '{spec}/*{ending}'" if folders else nearest(pattern)
        raise UserError(f"no file matches {spec}", hint)
    return files


def expanded(pattern: str) -> list[str]:
    """A pattern with each `{000..146}` written out, zeros kept."""
    found = RANGE.search(pattern)
    if not found:
        return [pattern]
    first, last = found.groups()
    numbers = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return [rest for n in numbers for rest in expanded(pattern[: found.start()] + n + pattern[found.end() :])]


def nearest(pattern: str) -> str:
    """The last folder on the way to a pattern that exists, and what there is in it."""
    folder = expand(pattern).absolute().parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:5]
    return f"{folder} holds {', '.join(names) or 'nothing'}{', …' if len(names) == 5 else ''}"


def by_split(files: list[Path], spec: str) -> dict[str, list[Path]]:
    """Files by the split that their names tell (`train-00001.parquet`, `test/0.tar`). Raises UserError."""
    splits: dict[str, list[Path]] = {}
    for file in files:
        splits.setdefault(split_of(file) or WHOLE, []).append(file)
    if not divided(map(role_of, splits)):
        return {WHOLE: files}
    if WHOLE in splits:
        named = ", ".join(sorted(split for split in splits if split))
        message = f"{splits[WHOLE][0].name} belongs to no split in {spec}, while other files belong to {named}"
        raise UserError(message, "name the files more narrowly")
    return splits


def split_of(file: Path) -> str | None:
    """The split that a word of the file's name tells, or the name of its folder; None when neither does."""
    words = [*re.split(r"[^a-z]+", file.stem.lower()), file.parent.name]
    return next((role for word in words if (role := role_of(word))), None)
