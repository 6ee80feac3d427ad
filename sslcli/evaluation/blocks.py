"""Features on disk while they are made: a file a block of pictures, whole or not there, so nothing is made twice.

FOLDER/block-00012.safetensors   features [b, D], where their pictures stand in the source [b], and in its metadata what
                                 could not be read
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sslcli.errors import RunError
from sslcli.evaluation.features import Table
from sslcli.nn.tensor_files import write_tensors

BLOCK = 1024  # pictures in a file: what is lost at most when a command is killed. With another size, blocks that are
# there would be of other pictures: raise kept.FORMAT too


@dataclass(frozen=True)
class Blocks:
    """The blocks of so many pictures in a folder; `size` of them in each, below BATCH or a multiple of it."""

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
        write_tensors(self.file(block), tensors, {"broken": json.dumps(table.broken)})

    def read(self, block: int) -> Table:
        """A block that is made. Raises RunError when it is damaged, and takes it away, or when another took it away."""
        try:
            with safe_open(self.file(block), framework="pt") as file:
                broken = json.loads(file.metadata()["broken"])
                features, positions = file.get_tensor("features"), file.get_tensor("positions")
            return Table(features, positions, tuple((path, reason) for path, reason in broken))
        except (OSError, SafetensorError) as failure:
            self.file(block).unlink(missing_ok=True)
            raise RunError(
                f"the features in {self.file(block)} are damaged or gone: {failure}",
                "the same command makes that block again",
            ) from None
