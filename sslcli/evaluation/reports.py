"""What an evaluation found: rows of numbers with their intervals, what made them, and where they are kept.

RUN/evaluations/<protocol>-<ten letters>.json     one for each protocol, data and options; the newest stays
"""

import hashlib
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from sslcli import __version__
from sslcli.disk import write_whole
from sslcli.errors import RunError
from sslcli.evaluation.interval import mean_interval

FOLDER = "evaluations"


@dataclass(frozen=True)
class Report:
    """Rows of numbers by name, such as `{"k": 20, "top1": 0.44, "top1_interval": [0.41, 0.47]}`.

    Names in `shares` are shares, told to a person in per cent. `facts` say what was done to what: sizes, options.
    `details` are for programs: more than a person would read.
    """

    protocol: str
    run: str
    judged: str  # what RUN turned out to be
    data: str
    results: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The report as plain data; accuracies are shares."""
        head = {"protocol": self.protocol, "run": self.run, "data": self.data, "results": list(self.results)}
        return head | {"judged": self.judged, "shares": list(self.shares), **self.facts, **self.details}


def share_of(name: str, right: Tensor, seed: int) -> dict[str, Any]:
    """The share of test pictures `[M]` that are right, with its 95 % interval over them: two entries of a row."""
    found = mean_interval(right, seed=seed)
    return {name: found.value, f"{name}_interval": [found.low, found.high]}


def keep(report: Report, run: Path, options: Mapping[str, Any]) -> Path:
    """Write a report beside its run, with the command and the time. Raises RunError when the disk takes no more."""
    document = report.document() | {
        "options": dict(options),
        "command": shlex.join(["sslcli", *sys.argv[1:]]),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "sslcli": __version__,
    }
    asked = json.dumps([report.protocol, report.data, dict(options)], sort_keys=True, default=str)
    name = f"{re.sub(r'[^a-z0-9]+', '-', report.protocol.lower())}-{hashlib.sha256(asked.encode()).hexdigest()[:10]}"
    file = run / FOLDER / f"{name}.json"
    text = json.dumps(document, indent=1, ensure_ascii=False, default=str)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as failure:
        raise RunError(f"cannot keep the result in {file}: {failure}", "make room, or use --no-save") from failure
    return file


def kept_reports(run: Path) -> Iterator[dict[str, Any]]:
    """The reports beside a run, by protocol and time; files that are none are passed over."""
    found = []
    for file in sorted((run / FOLDER).glob("*.json")):
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            found.append((document["protocol"], document["time"], document["results"], document))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    yield from (entry[-1] for entry in sorted(found, key=lambda entry: entry[:2]))


def cells(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of a report for a person: shares in per cent, an interval behind its number."""
    shares = document.get("shares", ())
    headers = headers_of(document["results"])
    return headers, [
        [cell(row.get(name), row.get(f"{name}_interval"), name in shares) for name in headers]
        for row in document["results"]
    ]


def headers_of(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of rows; an interval has none of its own."""
    names = dict.fromkeys(key for row in results for key in row)
    return [name for name in names if not name.endswith("_interval")]


def cell(value: Any, interval: Sequence[float] | None, share: bool) -> str:
    """A number as a person reads it."""
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    shown = f"{value:.1%}" if share else f"{value:.4g}"
    if interval is None:
        return shown
    low, high = (f"{end:.1%}" if share else f"{end:.4g}" for end in interval)
    return f"{shown} ({low.rstrip('%') if share else low} to {high})"


def plainly(fact: Any) -> str:
    """A fact in a line."""
    if isinstance(fact, float):
        return f"{fact:.4g}"
    return ", ".join(map(str, fact)) if isinstance(fact, list | tuple) else str(fact)
