"""Where sslcli keeps what it can make again: folder indexes, features."""

import os
from pathlib import Path

from sslcli.disk import expand
from sslcli.errors import UserError


def cache_folder(name: str) -> Path:
    """The cache folder for one kind of thing, made if need be: under $SSLCLI_CACHE, or ~/.cache/sslcli."""
    standard = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = expand(os.environ.get("SSLCLI_CACHE") or f"{standard}/sslcli") / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "set SSLCLI_CACHE to a folder that can be written"
        raise UserError(f"cannot make the cache folder {folder}: {error.strerror}", hint) from error
    return folder
