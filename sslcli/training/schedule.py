"""The learning rate, step by step: a linear warm-up from 0, then half a cosine."""

import math
from dataclasses import dataclass

from sslcli.api import Context
from sslcli.recipe.tables import Optimizer


@dataclass(frozen=True)
class LearningRate:
    """Rate of every optimizer step, counted from 0.

    The first step has rate 0 when there is a warm-up, as in the released code of MAE, MoCo v3 and Mugs. With
    `reaches_peak` the last warm-up step is at the peak (numpy.linspace, as Mugs and PatchMix do), otherwise the step
    after it is (MAE, MoCo v3).
    """

    peak: float
    final: float
    warmup: float  # steps
    steps: int
    reaches_peak: bool = False

    def at(self, step: int) -> float:
        """The rate of one step."""
        if step < self.warmup:
            return self.peak * step / max(self.warmup - self.reaches_peak, 1)
        done = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.final + (self.peak - self.final) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


def learning_rate(options: Optimizer, context: Context) -> LearningRate:
    """The schedule of a recipe, its peak scaled by the batch size."""
    scale = context.batch_size / options.lr_batch if options.lr_batch else 1.0
    return LearningRate(
        peak=options.lr * scale,
        final=options.final_lr,
        warmup=options.warmup_epochs * context.steps_per_epoch,
        steps=context.steps,
        reaches_peak=options.warmup_reaches_peak,
    )
