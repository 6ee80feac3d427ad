"""Features as they are clustered: of unit length, some at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

SIZE = 1024  # features at a time


@dataclass(frozen=True)
class Units:
    """Features `[N, D]` at unit length, `[b, D]` at a time, gone through again and again; the others stay on disk."""

    features: Tensor
    device: str | torch.device = "cpu"
    size: int = SIZE

    def __iter__(self) -> Iterator[Tensor]:
        for begin in range(0, len(self.features), self.size):
            yield normalize(self.features[begin : begin + self.size].to(self.device), dim=1)


def on_device(features: Tensor, device: torch.device) -> Any:
    """Features as they are gone through: all at once on a GPU that holds them easily."""
    units = Units(features, device)
    if device.type == "cuda" and features.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return list(units)
    return units
