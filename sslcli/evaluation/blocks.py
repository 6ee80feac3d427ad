"""Features on disk while they are made: a file a block of pictures, whole or not there, so nothing is made twice.

FOLDER/block-00012.safetensors   features [b, D], where their pictures stand in the source [b], and in its metadata what
                                 could not be read
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sslcli.disk import write_whole
from sslcli.errors import RunError
from sslcli.evaluation.features import Table

BLOCK = 1024  # pictures in a file: what is lost at most when a command is killed


class Unwritable(RunError):
    """The disk does not take a file."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of so many pictures in a folder."""

    folder: Path
    pictures: int
    size: int = BLOCK

    def __len__(self) -> int:
        return -(-self.pictures // self.size)

    def file(self, block: int) -> Path:
        """Where a block is kept."""
        return self.folder / f"block-{block:05d}.safetensors"

    def missing(self) -> list[int]:
        """The blocks that are still to be made."""
        return [block for block in range(len(self)) if not self.file(block).is_file()]

    def numbers(self, block: int) -> range:
        """The pictures of a block."""
        return range(block * self.size, min((block + 1) * self.size, self.pictures))

    def there(self) -> int:
        """The pictures of the blocks that are made."""
        return self.pictures - sum(len(self.numbers(block)) for block in self.missing())

    def write(self, block: int, table: Table) -> None:
        """Keep a block. Raises Unwritable."""
        tensors = {"features": table.features, "positions": table.positions}
        store(self.file(block), tensors, {"broken": json.dumps(table.broken)})

    def read(self, block: int) -> Table:
        """A block that is made. Raises RunError when it is damaged, and takes it away."""
        try:
            with safe_open(self.file(block), framework="pt") as file:
                broken = json.loads(file.metadata()["broken"])
                features, positions = file.get_tensor("features"), file.get_tensor("positions")
            return Table(features, positions, tuple((path, reason) for path, reason in broken))
        except SafetensorError as failure:
            self.file(block).unlink(missing_ok=True)
            raise RunError(
                f"the features in {self.file(block)} are damaged: {failure}", "the same command makes that block again"
            ) from None


def store(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """A safetensors file that is whole or not there. Raises Unwritable."""
    owned = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: save_file(owned, path, metadata=dict(said)))
    except (OSError, SafetensorError) as failure:
        raise Unwritable(f"cannot write {file}: {failure}", "make room; then the same command goes on") from failure
