"""The last rows that all processes brought, first in, first out: negatives of a contrast, or a memory of neighbours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.gather import gather
from sslcli.nn.precision import in_full_precision

NOBODY = -1  # the owner of a row that nobody has brought yet
SOMEBODY = -2  # of one that was brought without saying whose it is
NO_LENGTH = 1e-12  # a shorter row is like no query


class Queue(nn.Module):
    """`rows [size, width]`, the same on every rank, saved and resumed with the run; constants to every gradient.

    It starts with normal noise, of unit length with `unit`. `push` belongs into a loss's `after_step`: all of a step
    then sees the rows of the steps before it. Each row remembers its owner, the number of the sample it is of.
    """

    rows: Tensor
    owners: Tensor  # int64 [size]
    place: Tensor  # int64 [], where the next row goes

    def __init__(self, size: int, width: int, *, unit: bool = False) -> None:
        super().__init__()
        noise = torch.randn(size, width)
        self.size = size
        self.register_buffer("rows", F.normalize(noise, dim=1) if unit else noise)
        self.register_buffer("owners", torch.full((size,), NOBODY))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor, owners: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """Take in the rows `[B, width]` of every rank, in rank order, and return how many there were, int64 [].

        `owners [B]` are the samples' numbers, where somebody will ask for them. Of `keep [B]`, a mask, only the rows
        that are true are taken; ranks may keep unequal numbers, for the choice is made after gathering. The device is
        never waited for.
        """
        rows = gather(rows)
        owners = rows.new_full(rows.shape[:1], SOMEBODY, dtype=torch.int64) if owners is None else gather(owners)
        kept = rows.new_ones(len(rows), dtype=torch.bool) if keep is None else gather(keep.bool())
        order = kept.int().argsort(descending=True, stable=True)  # kept ones first, as they came
        count = kept.sum()
        self.write(rows[order], owners[order], count)
        return count

    def write(self, rows: Tensor, owners: Tensor, count: Tensor) -> None:
        """The first `count` of the rows into the next places, after the last place the first; of too many, the last."""
        skipped = (count - self.size).clamp(min=0)
        numbers = skipped + torch.arange(min(len(rows), self.size), device=rows.device)
        places = (self.place + numbers) % self.size
        brought = numbers < count
        self.rows[places] = torch.where(brought[:, None], rows[numbers].to(self.rows.dtype), self.rows[places])
        self.owners[places] = torch.where(brought, owners[numbers], self.owners[places])
        self.advance(count)

    def advance(self, count: Tensor | int) -> None:
        """Move the place of the next row, writing nothing."""
        self.place.copy_((self.place + count) % self.size)

    @property
    def filled(self) -> Tensor:
        """The share of rows that somebody has brought, a scalar."""
        return (self.owners != NOBODY).float().mean()

    def nearest(self, queries: Tensor, count: int) -> Tensor:
        """Places of the `count` rows most like each of `queries [..., width]` by cosine, the nearest first."""
        return nearest(queries, self.rows, count)


@torch.no_grad()
@in_full_precision
def nearest(queries: Tensor, rows: Tensor, count: int) -> Tensor:
    """Indices `[..., count]` of the rows with the highest cosine to each query, the highest first."""
    # the length of a query does not change the order of its cosines
    cosines = (queries @ rows.T).div_(rows.norm(dim=1).clamp(min=NO_LENGTH))
    return cosines.topk(count, dim=-1).indices


def queue_size(size: int | str, *, least: int, samples: int, what: str) -> int:
    """The size of a queue, checked; `auto` is 65,536, or the largest power of two within half of the data.

    `least` is how many rows a step brings. Raises UserError when that does not fit, or the data hold fewer samples.
    """
    half = power_of_two(samples // 2)
    if size == "auto":
        size = max(min(1 << 16, half), min(least, samples))
    assert isinstance(size, int)
    if size < least:
        raise UserError(
            f"{what} = {size} is smaller than what one step brings, {least} rows",
            room(min(4 * least, half), least, samples),
        )
    if size > samples:
        raise UserError(
            f"{what} = {size} is larger than the data, {samples} pictures: a picture would meet itself of epochs ago",
            f"{room(half, least, samples)}, or leave it out",
        )
    return size


def room(wish: int, least: int, samples: int) -> str:
    """The advice to take a size that fits, or to make room for one."""
    if least > samples:
        return f"lower train.batch_size: the data hold {samples} pictures, fewer than the rows of one step"
    return f"set it to {max(wish, least)}"


def power_of_two(limit: int) -> int:
    """The largest power of two up to a limit, at least 1."""
    return 1 << max(limit.bit_length() - 1, 0)
