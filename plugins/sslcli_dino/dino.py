"""DINO (arXiv:2104.14294): self-distillation over prototypes, from small and large crops to large ones."""

import torch
from torch import Tensor, nn

from sslcli.api import Context, value_at
from sslcli.nn import (
    Centre,
    Momentum,
    PrototypeHead,
    Step,
    log_prototypes,
    pair_cross_entropy,
    pair_weights,
)
from sslcli_dino.options import DinoOptions


class SelfDistillation(nn.Module):
    """The mean over pairs of crops of different numbers of `H(softmax((g_t - c) / tau_t), softmax(g_s / tau_s))`."""

    weights: Tensor

    def __init__(self, options: DinoOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.head = Momentum(
            PrototypeHead(
                context.width,
                options.prototypes,
                hidden=options.hidden,
                bottleneck=options.bottleneck,
                layers=options.layers,
                unit=options.norm_last_layer,
            )
        )
        self.centre = Centre(options.prototypes, options.centre_momentum)
        taught, large, small = map(context.crops, (options.taught, options.views, options.local_views))
        self.register_buffer("weights", pair_weights(taught, large, small), persistent=False)  # [teacher, student]

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        temperature = value_at(self.options.teacher_temperature, step.progress)
        shares = self.centre(self.teacher_logits(step), temperature)
        log_prototypes(step, shares)
        pairs = pair_cross_entropy(self.student_logits(step), shares, self.options.student_temperature)
        return (pairs * self.weights).sum()

    def student_logits(self, step: Step) -> Tensor:
        """`[large + small, B, prototypes]`."""
        features = torch.cat([step.student(view).cls for view in self.options.studied])
        logits: Tensor = self.head.online(features)
        return logits

    @torch.no_grad()
    def teacher_logits(self, step: Step) -> Tensor:
        """`[teacher, B, prototypes]`, without gradient, made once a step."""

        def make() -> Tensor:
            logits: Tensor = self.head.target(step.teacher(self.options.taught).cls)
            return logits

        return step.once(f"{step.scope}/teacher_logits", make)

    def after_step(self, step: Step) -> None:
        """The centre moves towards what the teacher said."""
        self.centre.update(self.teacher_logits(step))
