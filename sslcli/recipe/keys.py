"""Paths of keys in TOML data, and the lines of a file that say them."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

KeyPath = tuple[str | int, ...]

BARE = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: KeyPath) -> str:
    """A path as TOML writes it, `optimizer.lr_factors."head.*"`, with places in arrays as numbers: `loss.0.weight`."""
    return ".".join(str(part) if BARE.fullmatch(str(part)) else f'"{part}"' for part in path)


def reach(data: Any, path: KeyPath) -> bool:
    """Whether a path leads anywhere in TOML data."""
    for part in path:
        if not holds(data, part):
            return False
        data = data[part]
    return True


def holds(data: Any, part: str | int) -> bool:
    """Whether a table has this key, or an array this place."""
    if isinstance(part, int):
        return isinstance(data, list | tuple) and part < len(data)
    return isinstance(data, Mapping) and part in data


def lines_of(text: str, paths: Iterable[KeyPath]) -> dict[KeyPath, int]:
    """The line, from 1, on which each path of a TOML text begins; paths that it does not hold are left out.

    TOML parsers keep no lines, so ever longer beginnings of the text are parsed until each path exists. A beginning
    that ends inside a value does not parse; the value then began on the line after the last beginning that did.
    """
    wanted, found, start = set(paths), dict[KeyPath, int](), 1
    lines = text.splitlines(keepends=True)
    for end in range(1, len(lines) + 1):
        if not wanted:
            break
        try:
            data = tomllib.loads("".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        new = {path for path in wanted if reach(data, path)}
        found |= dict.fromkeys(new, start)
        wanted, start = wanted - new, end + 1
    return found
