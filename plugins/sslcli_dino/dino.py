"""DINO (arXiv:2104.14294): self-distillation over prototypes, from small and large crops to large ones."""

import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.nn import Distillation, Step, pair_weights
from sslcli_dino.options import DinoOptions


class SelfDistillation(Distillation):
    """The mean over pairs of crops of different numbers of `H(softmax((g_t - c) / tau_t), softmax(g_s / tau_s))`."""

    options: DinoOptions
    weights: Tensor

    def __init__(self, options: DinoOptions, context: Context) -> None:
        super().__init__(options, context.width)
        taught, large, small = map(context.crops, (options.taught, options.views, options.local_views))
        self.register_buffer("weights", pair_weights(taught, large, small), persistent=False)  # [teacher, student]

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = torch.cat([step.student(view).cls for view in self.options.studied])
        pairs = self.pairs(step, student, step.teacher(self.options.taught).cls)
        return (pairs * self.weights).sum()
