"""What the loader hands to the device: uint8 crops, the numbers drawn for them, and facts of the samples."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One process's slice of a batch, `B` samples."""

    crops: Mapping[str, Tensor]  # group -> uint8 [crops, B, S, S, 3]
    draws: Mapping[str, Mapping[str, Tensor]]  # group -> name -> [crops, B, ...]
    columns: Mapping[str, Tensor]  # "index" and "epoch", int64 [B], and what augmentations add
    broken: tuple[tuple[str, str], ...] = ()  # (path, reason) of pictures met that could not be read

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device; copies from pinned memory do not wait."""
        return Batch(
            {group: crops.to(device, non_blocking=True) for group, crops in self.crops.items()},
            {g: {n: t.to(device, non_blocking=True) for n, t in draws.items()} for g, draws in self.draws.items()},
            {name: column.to(device, non_blocking=True) for name, column in self.columns.items()},
            self.broken,
        )

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; called by the loader where there is a GPU."""
        return Batch(
            {group: crops.pin_memory() for group, crops in self.crops.items()},
            {g: {n: t.pin_memory() for n, t in draws.items()} for g, draws in self.draws.items()},
            {name: column.pin_memory() for name, column in self.columns.items()},
            self.broken,
        )
