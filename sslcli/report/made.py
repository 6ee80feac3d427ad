"""What made a run, from its `environment.json`: pictures, plugins, versions, and each session of its training."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sslcli.disk import read_json
from sslcli.training.runs import ENVIRONMENT, IMPORTED

FACTS = ("device", "platform", "python")


@dataclass(frozen=True)
class Session:
    """One start of the training, or one time that it was taken up again."""

    started: str
    facts: dict[str, str]
    command: str


@dataclass(frozen=True)
class Made:
    """What a run noted of its making; all of it may be missing."""

    samples: str = ""
    fingerprint: str = ""  # of the pictures
    plugins: tuple[str, ...] = ()
    origin: dict[str, str] = field(default_factory=dict)  # of an imported run
    sessions: tuple[Session, ...] = ()


def made_of(folder: Path) -> Made:
    """What the file says, whatever else it holds."""
    noted = read_json(folder / ENVIRONMENT)
    data = table(noted.get("data"))
    plugins, sessions = (tables(noted.get(key)) for key in ("plugins", "sessions"))
    return Made(
        samples=str(data.get("samples", "")),
        fingerprint=str(data.get("fingerprint", "")),
        plugins=tuple(f"{one.get('name')} ({one.get('package')} {one.get('version')})" for one in plugins),
        origin={name: str(fact) for name, fact in table(noted.get(IMPORTED)).items() if fact not in ("", None, {})},
        sessions=tuple(session_of(one) for one in sessions),
    )


def session_of(noted: Mapping[str, Any]) -> Session:
    """A session as far as it was noted."""
    facts = {name: str(noted.get(name, "not noted")) for name in FACTS}
    versions = {name: str(version) for name, version in table(noted.get("versions")).items()}
    typed = noted.get("command", [])
    words = [str(word) for word in typed] if isinstance(typed, list) else [str(typed)]
    named = ["sslcli", *words[1:]] if words else []
    return Session(moment(str(noted.get("started", "an unknown time"))), facts | versions, shlex.join(named))


def moment(written: str) -> str:
    """A time as a reader takes it in, to the minute; words that are no time stay as they are."""
    try:
        return datetime.fromisoformat(written).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return written


def table(value: Any) -> Mapping[str, Any]:
    """A value that should be a table; an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}


def tables(value: Any) -> list[Mapping[str, Any]]:
    """A value that should be a list of tables; what is none in it is left out."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
