"""Features on disk while pictures are clustered: one file a block, whole or not there, so that no work is done twice.

CLUSTERS/.features/claim.json              of which pictures by which encoder: nothing else is mixed in
CLUSTERS/.features/block-00012.safetensors features [b, D] of unit length, the numbers of their pictures [b], and
                                           in its metadata what could not be read
CLUSTERS/.features/rounds.safetensors      how far the clustering has come
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.disk import write_whole
from sslcli.errors import RunError
from sslcli_moce.clustering import Asked, Standing

BLOCK = 1024  # pictures in a file: what is lost at most when the command is killed
ROUNDS = "rounds.safetensors"
Broken = list[tuple[str, str]]  # (path, reason)


@dataclass(frozen=True)
class Kept:
    """The folder of features of so many pictures, as blocks that can be gone through again and again."""

    folder: Path
    pictures: int
    size: int = BLOCK
    device: str | torch.device = "cpu"

    @property
    def blocks(self) -> int:
        """How many files there are when all are there."""
        return -(-self.pictures // self.size)

    def file(self, block: int) -> Path:
        """Where a block is kept."""
        return self.folder / f"block-{block:05d}.safetensors"

    def missing(self) -> list[int]:
        """The blocks that are still to be made."""
        return sorted(set(range(self.blocks)) - set(self.there()))

    def there(self) -> list[int]:
        """The blocks that are made."""
        return [block for block in range(self.blocks) if self.file(block).is_file()]

    def numbers(self, block: int) -> range:
        """The pictures of a block."""
        return range(block * self.size, min((block + 1) * self.size, self.pictures))

    def __iter__(self) -> Iterator[Tensor]:
        """Features `[b, D]`, block by block; one at a time is in memory."""
        for block in range(self.blocks):
            features = self.tensor(block, "features")
            if len(features):
                yield features.to(self.device)

    def positions(self) -> Tensor:
        """The numbers of the pictures that features were made of, in their order, int64 `[N]`."""
        return torch.cat([self.tensor(block, "positions") for block in range(self.blocks)])

    def tensor(self, block: int, name: str) -> Tensor:
        """One part of a block. Raises RunError."""
        found: Tensor = self.read(block, lambda file: file.get_tensor(name))
        return found

    def broken(self, block: int) -> Broken:
        """The pictures of a block that could not be read. Raises RunError."""
        return [(path, reason) for path, reason in json.loads(self.read(block, lambda file: file.metadata()["broken"]))]

    def read(self, block: int, look: Callable[[Any], Any]) -> Any:
        """What is looked for in the file of a block. Raises RunError when it is damaged, and takes it away."""
        try:
            with safe_open(self.file(block), framework="pt") as file:
                return look(file)
        except (OSError, SafetensorError) as failure:
            self.file(block).unlink(missing_ok=True)
            raise RunError(
                f"the features in {self.file(block)} are damaged: {failure}", "the same command makes that block again"
            ) from None

    def write(self, block: int, features: Tensor, positions: Tensor, broken: Sequence[tuple[str, str]]) -> None:
        """Keep a block, its features at unit length. Raises RunError where they are not finite, or the disk is full."""
        if not features.isfinite().all():
            raise RunError(
                f"features of some of the pictures from number {block * self.size} on are not finite",
                "the backbone has diverged: take an earlier checkpoint",
            )
        tensors = {"features": normalize(features.float(), dim=1), "positions": positions}
        store(self.file(block), tensors, {"broken": json.dumps(list(broken))})

    def remember(self, now: Standing, asked: Asked) -> None:
        """Keep how far the clustering has come."""
        tensors = {"centroids": now.centroids, "potentials": now.potentials, "ids": now.ids}
        numbers = {name: getattr(now, name) for name in ("epsilon", "round", "passes", "changed", "moves")}
        store(self.folder / ROUNDS, tensors, {"numbers": json.dumps(numbers), "asked": json.dumps(asdict(asked))})

    def remembered(self, asked: Asked) -> Standing | None:
        """How far a clustering that was asked for in the same way has come, on the device; None where there is none."""
        try:
            with safe_open(self.folder / ROUNDS, framework="pt") as file:
                said = file.metadata()
                if json.loads(said["asked"]) != asdict(asked):
                    return None
                tensors = {name: file.get_tensor(name) for name in ("centroids", "potentials", "ids")}
        except (OSError, SafetensorError):
            return None
        tensors |= {name: tensors[name].to(self.device) for name in ("centroids", "potentials")}
        return Standing(**tensors, **json.loads(said["numbers"]))


def store(file: Path, tensors: Mapping[str, Tensor], said: Mapping[str, str]) -> None:
    """A file that is whole or not there. Raises RunError."""
    owned = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_whole(file, lambda path: save_file(owned, path, metadata=dict(said)))
    except (OSError, SafetensorError) as failure:
        raise RunError(f"cannot write {file}: {failure}", "make room; then the same command goes on") from failure
