"""Features kept on disk, by what they depend on: weights, how pictures are shown, the pictures. Never out of date.

One safetensors file a table, under ~/.cache/sslcli/features (or $SSLCLI_CACHE/features); a damaged one counts as none.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sslcli.data.cache import cache_folder
from sslcli.data.source import Source
from sslcli.disk import write_whole
from sslcli.evaluation.features import Table
from sslcli.evaluation.subjects import content

FORMAT = 1


def key_of(subject: str, source: Source) -> str:
    """The name of a table: a hash of the subject's fingerprint and of the source's."""
    facts = json.dumps([FORMAT, subject, source.fingerprint, len(source)])
    return hashlib.sha256(facts.encode()).hexdigest()


def file_of(key: str) -> Path:
    """Where a table is kept."""
    return cache_folder("features") / f"{key}.safetensors"


def read(key: str) -> Table | None:
    """A table that was kept, or None when there is none that is whole."""
    try:
        with safe_open(file_of(key), framework="pt") as file:
            said = file.metadata()
            features, positions = file.get_tensor("features"), file.get_tensor("positions")
        if said["sha256"] != digest_of(features, positions):
            return None
        return Table(features, positions, tuple((path, reason) for path, reason in json.loads(said["broken"])))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def write(key: str, table: Table, *, note: Callable[[str], None] = lambda line: None) -> None:
    """Keep a table: written beside, then renamed. A disk that will not take it costs a note, not the result."""
    file = file_of(key)
    features, positions = table.features.contiguous(), table.positions.contiguous()
    said = {"broken": json.dumps(table.broken), "sha256": digest_of(features, positions)}
    try:
        write_whole(file, lambda path: save_file({"features": features, "positions": positions}, path, metadata=said))
    except (OSError, SafetensorError) as failure:
        note(f"warning: the features could not be kept in {file.parent}: {failure}")


def digest_of(features: torch.Tensor, positions: torch.Tensor) -> str:
    """Hash of a table's numbers: safetensors itself would not notice a flipped bit."""
    digest = hashlib.sha256(content(features))
    digest.update(content(positions))
    return digest.hexdigest()
