"""Tensors in a safetensors file that is whole or not there."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sslcli.disk import write_whole
from sslcli.errors import Unwritable


def write_tensors(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """Tensors by name, and `said` as the file's metadata. The folder is made if need be. Raises Unwritable."""
    owned = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: save_file(owned, path, metadata=dict(said)))
    except (OSError, SafetensorError) as failure:
        raise Unwritable(f"cannot write {file}: {failure}", "make room, then give the same command again") from failure
