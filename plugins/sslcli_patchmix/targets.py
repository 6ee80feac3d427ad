"""How alike a query and the keys of all processes are to be, by what they are made of, as pure functions.

    P[i, c]   the share of image c in query i            Q[k, c]   the share of image c in key k
    T         P Q^T, the overlap;  (1 - e) T + e / C     with smoothing e over the C keys

Whole images against whole ones give one-hot targets, mixed against whole ones 1 / M for each image within, mixed
against mixed ones (M - |d|) / M^2 at the distance d (PatchMix, arXiv:2306.12243).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.nn import gather
from sslcli.nn.contrast import own_rows


@dataclass(frozen=True)
class Parts:
    """What images are made of: `rows [..., B, M]` among those of all processes, int64, and their `shares`."""

    rows: Tensor
    shares: Tensor

    def of_all(self) -> "Parts":
        """Those of every process, in the order of their rows."""
        return Parts(gather(self.rows), gather(self.shares))


def whole(batch: int, device: torch.device) -> Parts:
    """Images of one process that are nothing but themselves."""
    rows = own_rows(batch, device)[:, None]
    return Parts(rows, torch.ones_like(rows, dtype=torch.float32))


def overlap(queries: Parts, keys: Parts | None, columns: int) -> Tensor:
    """T `[..., B, C]`; without `keys [C, M]` they are whole images, in order."""
    spread = queries.shares.new_zeros(*queries.rows.shape[:-1], columns)
    spread = spread.scatter_add(-1, queries.rows, queries.shares)
    return spread if keys is None else (spread[..., keys.rows] * keys.shares).sum(dim=-1)


def smooth(targets: Tensor, smoothing: float) -> Tensor:
    """Targets `[..., C]` with a share `smoothing` spread evenly over all keys."""
    return (1.0 - smoothing) * targets + smoothing / targets.shape[-1]


def entropy(targets: Tensor) -> Tensor:
    """Below which no cross-entropy with the targets `[..., C]` can fall: the mean over rows, a scalar."""
    least: Tensor = torch.special.entr(targets).sum(dim=-1).mean()
    return least
