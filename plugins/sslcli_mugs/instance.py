"""Instance discrimination: the finest of the three granularities."""

from torch import Tensor, nn

from sslcli.api import Context
from sslcli.nn import Step
from sslcli_mugs.contrast import QueueContrast
from sslcli_mugs.crops import student_crops
from sslcli_mugs.options import InstanceOptions


class InstanceDiscrimination(nn.Module):
    """CLS tokens find the teacher's CLS tokens of other crops of the same image (Mugs, arXiv:2203.14415)."""

    def __init__(self, options: InstanceOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.contrast = QueueContrast("mugs.instance", options, context)

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        student = student_crops(step, self.options, lambda features: features.cls)
        loss: Tensor = self.contrast(step, student, step.teacher(self.options.taught).cls)
        return loss

    def after_step(self, step: Step) -> None:
        """The keys of this step into the queue."""
        self.contrast.push(step)
