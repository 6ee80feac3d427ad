"""The photometric work of two pipelines on one batch, each row by one of them, in one go through the batch.

An operation passes over the rows that it is not drawn for, so that the two pipelines' operations can follow one another
on the whole batch; what both have alike is done once. A row becomes what its own pipeline alone would make of it.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from sslcli.data.photometric import Greying, Normalising, Operation, Photometric, to_images

Draws = Mapping[str, Tensor]


class EitherPhotometric:
    """One of two photometric pipelines for each row."""

    def __init__(self, first: Photometric, second: Photometric) -> None:
        self.stages = tuple(zip(first.stages(), second.stages()))

    @torch.no_grad()
    def __call__(self, crops: Tensor, coin: Tensor, first: Draws, second: Draws) -> Tensor:
        """Crops uint8 `[B, S, S, 3]` to normalised images `[B, 3, S, S]`: by the second where `coin [B]` is true."""
        drawn = (only(~coin, first), only(coin, second), chosen(coin, first, second))
        with torch.autocast(crops.device.type, enabled=False):
            images = to_images(crops)
            for operation, draws in self.passes(*drawn):
                images = operation(images, draws)
            return images

    def passes(self, first: Draws, second: Draws, both: Draws) -> Iterator[tuple[Operation | Normalising, Draws]]:
        """The operations in their order, each with the draws of the rows that it is for."""
        for one, other in self.stages:
            if one is not None and other is not None and alike(one, other):
                yield one, both
                continue
            if one is not None:
                yield one, first
            if other is not None:
                yield other, second


def alike(one: Operation | Normalising, other: Operation | Normalising) -> bool:
    """Whether two operations of one stage do the same with the same draws, their probabilities aside."""
    if isinstance(one, Greying | Normalising) or isinstance(other, Greying | Normalising):
        return True
    first, second = (operation.settings.model_dump(exclude={"probability"}) for operation in (one, other))
    return first == second


def only(rows: Tensor, draws: Draws) -> Draws:
    """The draws of some rows; those of the others are zero, by which an operation knows a row that is not for it."""
    return {name: draw * rows.view(-1, *[1] * (draw.ndim - 1)) for name, draw in draws.items()}


def chosen(coin: Tensor, first: Draws, second: Draws) -> Draws:
    """The draws that both have, each row's from its own side."""
    return {
        name: torch.where(coin.view(-1, *[1] * (draw.ndim - 1)), second[name], draw)
        for name, draw in first.items()
        if name in second
    }
