"""Data on stdout, talk on stderr, and nothing in between that wraps lines or reads users' text as markup."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

BOLD, PLAIN = "\033[1m", "\033[0m"


def print_json(data: Any) -> None:
    """One JSON object on stdout; what JSON does not know, such as a path, is written as its text."""
    print(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def talk(text: str) -> None:
    """A line for the person at the terminal, on stderr, so that stdout stays data."""
    print(text, file=sys.stderr, flush=True)


def coloured(stream: TextIO | None = None) -> bool:
    """Whether a stream is a terminal whose user has not asked for plain text by NO_COLOR (no-color.org)."""
    return not os.environ.get("NO_COLOR") and (stream or sys.stdout).isatty()


def table(rows: Iterable[Sequence[object]], headers: Sequence[str]) -> None:
    """Rows under headers on stdout, each column as wide as its widest cell; lines are never cut or wrapped."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *lines)]
    title = align(headers, widths)
    print(f"{BOLD}{title}{PLAIN}" if coloured() else title)
    for line in lines:
        print(align(line, widths))


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells padded to their columns, two spaces apart, with nothing trailing."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
