"""What the loader hands to the device: uint8 crops, the numbers drawn for them, and facts of the samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One process's slice of a batch, `B` samples."""

    crops: Mapping[str, Tensor]  # group -> uint8 [crops, B, S, S, 3]
    draws: Mapping[str, Mapping[str, Tensor]]  # group -> name -> [crops, B, ...]
    columns: Mapping[str, Tensor]  # "index" and "epoch", int64 [B], and what augmentations add
    broken: tuple[tuple[str, str], ...] = ()  # (path, reason) of pictures met that could not be read
    broken_masks: tuple[tuple[str, str], ...] = ()  # the same of masks that could not be used

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device; copies from pinned memory do not wait."""
        return self.with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory; called by the loader where there is a GPU."""
        return self.with_tensors(Tensor.pin_memory)

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with every tensor changed."""
        return replace(
            self,
            crops={group: change(crops) for group, crops in self.crops.items()},
            draws={group: {name: change(t) for name, t in draws.items()} for group, draws in self.draws.items()},
            columns={name: change(column) for name, column in self.columns.items()},
        )
