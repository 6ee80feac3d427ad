"""A network of a run into a folder of another tool: written beside its place, checked, and renamed into it.

OUT/  what the tool reads   README.md, the model card   export.json, what was done
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sslcli import __version__
from sslcli.disk import folder_beside, refuse_here, settle, sync
from sslcli.errors import RunError, UserError, did_you_mean
from sslcli.evaluation.exporting.card import card_text
from sslcli.evaluation.exporting.choosing import Chosen, choose
from sslcli.evaluation.exporting.written import Written, require
from sslcli.evaluation.opening import EXPORTED

FORMATS = {"timm": "to_timm", "hf": "to_transformers", "onnx": "to_onnx", "safetensors": "to_safetensors"}
CARD = "README.md"
Note = Callable[[str], None]


@dataclass(frozen=True)
class Handed:
    """What was handed over."""

    chosen: Chosen
    to: str
    folder: Path
    written: Written
    command: str

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "run": self.chosen.run,
            "network": self.chosen.network,
            "said": self.chosen.subject.said,
            "to": self.to,
            "output": str(self.folder),
            "tool": self.written.tool,
            "matched": self.written.found,
            "tensors": self.written.tensors,
            "difference": self.written.difference,
            **self.written.facts,
            "command": self.command,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "sslcli": __version__,
        }


def hand_over(
    run: str, to: str, folder: Path, *, network: str = "", again: bool = False, note: Note = lambda line: None
) -> Handed:
    """Export a RUN. Raises UserError where that cannot be, RunError where the tool does not give the same features."""
    if to not in FORMATS:
        raise UserError(f"no format is called {to!r}", did_you_mean(to, FORMATS))
    refuse_taken(folder, again=again)
    form: Any = import_module(f"sslcli.evaluation.exporting.{FORMATS[to]}")
    require(form.PACKAGES, form.EXTRA)
    chosen = choose(run, network, note=note)
    note(f"{chosen.network}: {chosen.subject.said}")
    with filled(folder) as unfinished:
        handed = Handed(chosen, to, folder, form.write(chosen, unfinished), command_of(run, to, folder, chosen))
        (unfinished / CARD).write_text(card_text(chosen, handed.written, str(folder), handed.command), encoding="utf-8")
        report = json.dumps(handed.document(), indent=1, ensure_ascii=False)
        (unfinished / EXPORTED).write_text(report, encoding="utf-8")
    return handed


def command_of(run: str, to: str, folder: Path, chosen: Chosen) -> str:
    """The command that does the same again."""
    named = [] if chosen.network == "backbone" else ["--network", chosen.network]
    return shlex.join(["sslcli", "export", run, "--to", to, *named, "-o", str(folder)])


def refuse_taken(folder: Path, *, again: bool) -> None:
    """A folder that is not there, or empty, or that an earlier export made and `again` lets go. Raises UserError."""
    if folder.suffix in (".onnx", ".safetensors", ".pt", ".pth"):
        raise UserError(f"{folder} is named like a file, and a folder is written", f"such as '-o {folder.stem}'")
    refuse_here(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / EXPORTED).is_file():
        raise UserError(f"{folder} is already there, and holds something else", "name another folder with -o")
    if not again:
        raise UserError(f"{folder} is already there", "--again replaces what was exported into it")


@contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its place when all is well; else nothing is left, and nothing is changed."""
    former = folder.with_name(f".{folder.name}.{os.getpid()}.former")
    try:
        with folder_beside(folder) as unfinished:
            yield unfinished
            for file in unfinished.iterdir():
                settle(file)
            if folder.exists():
                os.rename(folder, former)
            os.rename(unfinished, folder)
            sync(folder.parent)
    except OSError as failure:
        raise RunError(
            f"cannot write {folder}: {failure.strerror or failure}", "make room, or name another folder"
        ) from failure
    finally:
        put_back(former, folder)


def put_back(former: Path, folder: Path) -> None:
    """What was there before, again in its place where nothing has taken it; else it goes."""
    if former.exists() and not folder.exists():
        os.rename(former, folder)
    shutil.rmtree(former, ignore_errors=True)
