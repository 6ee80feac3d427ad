"""Maps and labels of the training pictures, in files: a head learns from them for many epochs with flat memory.

2 bytes a number of a map (half precision), 4 a pixel of a label, in a folder that ends with the head's training.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.data.cache import cache_folder
from sslcli.errors import RunError

NO_CLASS = -1  # of a pixel that counts for nothing


class Kept:
    """So many maps `[D, rows, columns]` and labels `[S, S]`, filled in one after the other."""

    def __init__(self, folder: Path, most: int, shape: tuple[int, int, int], side: int) -> None:
        self.maps = np.lib.format.open_memmap(folder / "maps.npy", "w+", np.float16, (most, *shape))
        self.labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.int32, (most, side, side))
        self.width, self.count = shape[0], 0

    def __len__(self) -> int:
        return self.count

    def add(self, maps: Tensor, labels: NDArray[np.int64]) -> None:
        """Keep a batch. Raises RunError for maps that half precision cannot hold."""
        halves = maps.half().cpu()
        if not halves.isfinite().all():
            raise RunError("patch tokens are not finite, or beyond 65504", "judge an earlier checkpoint of the run")
        end = self.count + len(halves)
        self.maps[self.count : end], self.labels[self.count : end] = halves.numpy(), labels
        self.count = end

    def batch(self, picked: Tensor) -> tuple[Tensor, Tensor]:
        """Maps float32 `[B, D, rows, columns]` and labels int64 `[B, S, S]` of some pictures."""
        rows = np.sort(picked.numpy())
        return torch.from_numpy(self.maps[rows]).float(), torch.from_numpy(self.labels[rows]).long()


@contextmanager
def keeping() -> Iterator[Path]:
    """A folder for what is kept, gone afterwards. Raises RunError where the disk takes no more."""
    try:
        with TemporaryDirectory(dir=cache_folder("maps"), ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as failure:
        hint = "make room, set SSLCLI_CACHE to a larger disk, or use a smaller --image-size"
        raise RunError(f"cannot keep maps of the training pictures: {failure}", hint) from failure
