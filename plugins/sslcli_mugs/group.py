"""Group discrimination: the coarsest of the three granularities."""

from torch import Tensor

from sslcli.api import Context
from sslcli.nn import Distillation, Step
from sslcli_mugs.crops import student_crops, total, weights_of
from sslcli_mugs.options import GroupOptions


class GroupDiscrimination(Distillation):
    """The student's CLS tokens fall on the prototypes that the teacher's do, of other crops of the same image.

    DINO's loss over Mugs' pairs (Mugs, arXiv:2203.14415).
    """

    options: GroupOptions
    weights: Tensor

    def __init__(self, options: GroupOptions, context: Context) -> None:
        super().__init__(options, context.width)
        self.register_buffer("weights", weights_of(options, context), persistent=False)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = student_crops(step, self.options, lambda features: features.cls)
        pairs = self.pairs(step, student, step.teacher(self.options.taught).cls)
        return total(pairs, self.weights, self.options)
