"""DINO (arXiv:2104.14294): self-distillation over prototypes, from small and large crops to large ones."""

import torch
from torch import Tensor

from sslcli.api import Context, value_at
from sslcli.nn import Distillation, PrototypeHead, Step, pair_weights
from sslcli_dino.options import DinoOptions


class SelfDistillation(Distillation):
    """The mean over pairs of crops of different numbers of `H(softmax((g_t - c) / tau_t), softmax(g_s / tau_s))`."""

    weights: Tensor

    def __init__(self, options: DinoOptions, context: Context) -> None:
        head = PrototypeHead(
            context.width,
            options.prototypes,
            hidden=options.hidden,
            bottleneck=options.bottleneck,
            layers=options.layers,
            unit=options.norm_last_layer,
        )
        super().__init__(
            head,
            options.prototypes,
            student_temperature=options.student_temperature,
            centre_momentum=options.centre_momentum,
        )
        self.options = options
        taught, large, small = map(context.crops, (options.taught, options.views, options.local_views))
        self.register_buffer("weights", pair_weights(taught, large, small), persistent=False)  # [teacher, student]

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = torch.cat([step.student(view).cls for view in self.options.studied])
        temperature = value_at(self.options.teacher_temperature, step.progress)
        pairs = self.pairs(step, student, step.teacher(self.options.taught).cls, temperature)
        return (pairs * self.weights).sum()
