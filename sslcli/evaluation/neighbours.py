"""The k nearest neighbours by cosine, in blocks of both sets, so that memory does not grow with their product.

The order is total: nearer first, and of two training pictures equally near the earlier one, so equal pictures in a set
make no prediction depend on chance or on the size of the blocks.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

TRAIN_BLOCK = 65_536  # training pictures at a time
CELLS = 1 << 24  # similarities at a time: 64 MiB


def nearest(train: Tensor, test: Tensor, k: int, *, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Cosines and positions `[M, k]` of the `k` nearest of `train [N, D]` to each of `test [M, D]`, nearest first."""
    device = device or train.device
    similarities = torch.empty(len(test), 0, device=device)
    positions = torch.empty(len(test), 0, dtype=torch.int64, device=device)
    for begin, keys in blocks(train, TRAIN_BLOCK):
        keys = normalize(keys.to(device, torch.float32), dim=1)
        near, columns = nearest_in_block(keys, test, min(k, len(keys)))
        similarities, positions = merge(
            torch.cat([similarities, near], dim=1), torch.cat([positions, columns + begin], dim=1), k
        )
    return similarities, positions


def nearest_in_block(keys: Tensor, test: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows of the `k` nearest of normalised `keys [N, D]`, for all of `test [M, D]` in blocks."""
    size = min(max(CELLS // len(keys), 1), len(test))
    scratch = keys.new_empty(size, len(keys))  # one buffer for all blocks: fresh pages cost as much as the product
    found = []
    for _, queries in blocks(test, size):
        queries = normalize(queries.to(keys), dim=1)
        found.append(top(torch.mm(queries, keys.T, out=scratch[: len(queries)]), k))
    near, rows = zip(*found)
    return torch.cat(near), torch.cat(rows)


def blocks(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """Where each block begins, and its rows."""
    return ((begin, rows[begin : begin + size]) for begin in range(0, len(rows), size))


def top(similarities: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest of each row of `[M, N]` and their columns, the earlier one of equals."""
    values, columns = similarities.topk(min(k + 1, similarities.shape[1]), dim=1)
    if values.shape[1] > k:  # topk chooses freely among equals on either side of the cut
        tied = values[:, k - 1] == values[:, k]
        columns = columns[:, :k]
        if tied.any():
            columns[tied] = first_of_equals(similarities[tied], values[tied, k - 1 : k], k)
    columns = columns.sort(dim=1).values
    return merge(similarities.gather(1, columns), columns, k)


def first_of_equals(similarities: Tensor, cut: Tensor, k: int) -> Tensor:
    """Columns `[M, k]` of all above the `cut [M, 1]`, filled up with the first ones that equal it."""
    above, equal = similarities > cut, similarities == cut
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1) <= room))
    return chosen.nonzero()[:, 1].view(-1, k)


def merge(values: Tensor, columns: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest of each row, largest first; equals stay in the order they came in."""
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :k], columns.gather(1, order[:, :k])
