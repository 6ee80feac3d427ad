"""The crops of a step as the three losses see them."""

from collections.abc import Callable

import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.nn import Features, Step, pair_weights
from sslcli_mugs.options import MugsOptions


def student_crops(step: Step, options: MugsOptions, read: Callable[[Features], Tensor]) -> Tensor:
    """What `read` takes out of the student's features, `[crops, B, D]`: of all large crops, then of the small ones."""
    return torch.cat([read(step.student(view)) for view in options.studied])


def weights_of(options: MugsOptions, context: Context) -> Tensor:
    """How much each pair of crops weighs, `[teacher, student]`."""
    teacher, large, small = map(context.crops, (options.taught, options.views, options.local_views))
    return pair_weights(teacher, large, small, options.pairs)


def total(pairs: Tensor, weights: Tensor, options: MugsOptions) -> Tensor:
    """The weighted sum over pairs of crops `[teacher, student]`, a scalar.

    The released code divides by the sum of the losses' weights and does not multiply by them; so does `legacy`, with
    `train.total = "mean"`.
    """
    loss = (pairs * weights).sum()
    return loss / options.weight if options.legacy else loss
