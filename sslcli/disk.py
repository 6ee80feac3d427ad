"""Files and folders that are whole or not there: written beside their place, synced, then renamed into it."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sslcli.errors import UserError


def expand(path: str | Path) -> Path:
    """A path as it was typed, with the home folder in place of `~` or `~name`. Raises UserError where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = Path(path).parts[0][1:]
        lacking = f"there is no user '{name}'" if name else "the home folder of this user is not known"
        raise UserError(f"{lacking}: {path}", "write the path in full, from the root on") from None


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then give it the name: there is never half a file under it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(unfinished)
        settle(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    sync(path.parent)


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none that can be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def refuse_here(folder: Path) -> None:
    """A whole folder takes the place of another, and the one that a person stands in must stay. Raises UserError."""
    if folder.resolve() == Path.cwd():
        raise UserError(f"'{folder}' is the folder you are in", "name a folder to be made, such as '-o new'")


@contextlib.contextmanager
def folder_beside(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, to be filled and renamed; what has not left it by the end goes."""
    whole = Path(os.path.abspath(folder))  # `.` has no name of its own
    unfinished = whole.with_name(f".{whole.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a killed process of this number: containers count from 1 again
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def settle(path: Path) -> None:
    """Wait until a file is on the disk, readable by whom the umask allows; safetensors makes it the owner's alone."""
    path.chmod(0o666 & ~UMASK)
    sync(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def current_umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


UMASK = current_umask()
