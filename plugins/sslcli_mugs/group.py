"""Group discrimination: the coarsest of the three granularities."""

from torch import Tensor

from sslcli.api import Context, value_at
from sslcli.nn import Distillation, PrototypeHead, Step
from sslcli_mugs.crops import student_crops, total, weights_of
from sslcli_mugs.options import GroupOptions


class GroupDiscrimination(Distillation):
    """The student's CLS tokens fall on the prototypes that the teacher's do, of other crops of the same image.

    DINO's loss over Mugs' pairs (Mugs, arXiv:2203.14415).
    """

    weights: Tensor

    def __init__(self, options: GroupOptions, context: Context) -> None:
        head = PrototypeHead(
            context.width,
            options.prototypes,
            hidden=options.hidden,
            bottleneck=options.bottleneck,
            unit=options.norm_last_layer,
        )
        super().__init__(
            head,
            options.prototypes,
            student_temperature=options.student_temperature,
            centre_momentum=options.centre_momentum,
        )
        self.options = options
        self.register_buffer("weights", weights_of(options, context), persistent=False)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = student_crops(step, self.options, lambda features: features.cls)
        temperature = value_at(self.options.teacher_temperature, step.progress)
        pairs = self.pairs(step, student, step.teacher(self.options.taught).cls, temperature)
        return total(pairs, self.weights, self.options)
