"""Which pictures a step sees: a function of (seed, epoch, step), not of processes, workers or a resume."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from sslcli.data.draws import stream_generator
from sslcli.errors import UserError

Position = tuple[int, int]  # epoch and index of a sample


@dataclass(frozen=True)
class BatchPlan:
    """The global batches of a run, and the slices of them that one process computes.

    Each epoch is a fresh permutation of the samples, cut into batches; what does not fill a batch is left out. A global
    batch is computed in `accumulation * world_size` slices: slice `a * world_size + rank` is micro-batch `a` of `rank`,
    so 1 process with batch 2N sees what 2 processes with batch N see. Raises UserError where this cannot be.
    """

    samples: int
    batch_size: int  # of one optimizer step, all processes and accumulation together
    _: KW_ONLY
    seed: int
    rank: int = 0
    world_size: int = 1
    accumulation: int = 1

    def __post_init__(self) -> None:
        """Refuse a set that fills no batch, and a batch that cannot be divided."""
        if self.samples < self.batch_size:
            message = f"the set has {self.samples} pictures, fewer than train.batch_size = {self.batch_size}"
            raise UserError(message, f"use more pictures, or train.batch_size = {max(self.samples, 1)} or less")
        parts = self.world_size * self.accumulation
        if self.batch_size % parts:
            message = (
                f"train.batch_size = {self.batch_size} cannot be divided by {parts}"
                f" ({self.world_size} processes x train.accumulation = {self.accumulation})"
            )
            raise UserError(message, f"the next batch size that can be is {-(-self.batch_size // parts) * parts}")

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass over the set."""
        return self.samples // self.batch_size

    @property
    def micro_batch_size(self) -> int:
        """Samples of one forward of one process."""
        return self.batch_size // (self.world_size * self.accumulation)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The samples in the order of an epoch."""
        return stream_generator(self.seed, "order", epoch).permutation(self.samples)

    def micro_batches(self, first_step: int, last_step: int) -> Iterator[list[Position]]:
        """This process's micro-batches of the steps from `first_step` up to, and without, `last_step`.

        Only the order of the epoch at hand is held: 10 MB for 1.3 million samples.
        """
        size = self.micro_batch_size
        current = -1
        for step in range(first_step, last_step):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != current:
                current, order = epoch, self.order(epoch)
            for part in range(self.accumulation):
                start = place * self.batch_size + (part * self.world_size + self.rank) * size
                yield [(epoch, index) for index in order[start : start + size].tolist()]
