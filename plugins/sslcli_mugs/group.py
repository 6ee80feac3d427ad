"""Group discrimination: the coarsest of the three granularities."""

import torch
from torch import Tensor, nn

from sslcli.api import Context, value_at
from sslcli.nn import Centre, Momentum, PrototypeHead, Step, log_prototypes, pair_cross_entropy
from sslcli_mugs.crops import student_crops, total, weights_of
from sslcli_mugs.options import GroupOptions


class GroupDiscrimination(nn.Module):
    """The student's CLS tokens fall on the prototypes that the teacher's do, of other crops of the same image.

    q = softmax((g_t(x_t) - c) / tau_t),  - sum_m q_m log softmax(g_s(x_s) / tau_s)_m   (Mugs, arXiv:2203.14415; DINO)
    """

    weights: Tensor

    def __init__(self, options: GroupOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("weights", weights_of(options, context), persistent=False)
        self.head = Momentum(
            PrototypeHead(
                context.width,
                options.prototypes,
                hidden=options.hidden,
                bottleneck=options.bottleneck,
                unit=options.norm_last_layer,
            )
        )
        self.centre = Centre(options.prototypes, options.centre_momentum)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        temperature = value_at(self.options.teacher_temperature, step.progress)
        shares = self.centre(self.teacher_logits(step), temperature)
        log_prototypes(step, shares)
        logits = self.head.online(student_crops(step, self.options, lambda features: features.cls))
        pairs = pair_cross_entropy(logits, shares, self.options.student_temperature)
        return total(pairs, self.weights, self.options)

    def teacher_logits(self, step: Step) -> Tensor:
        """Logits of the teacher's crops, `[crops, B, prototypes]`, made once a step."""
        return step.once(f"{step.scope}/logits", lambda: self.judge(step.teacher(self.options.taught).cls))

    @torch.no_grad()
    def judge(self, vectors: Tensor) -> Tensor:
        """What the teacher's head says."""
        logits: Tensor = self.head.target(vectors)
        return logits

    def after_step(self, step: Step) -> None:
        """Move the centre."""
        self.centre.update(self.teacher_logits(step))
