"""BYOL (arXiv:2006.07733): the student foretells the teacher's projection of another crop of the same image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.nn import Features, Momentum, Step, in_full_precision, mlp_head, pair_weights
from sslcli_byol.options import BootstrapOptions


class Bootstrap(nn.Module):
    """`d(o_1, t_2) + d(o_2, t_1)`, d the squared distance of unit vectors, the mean over images.

    With more crops the mean over all pairs of crops of different numbers, times two: the weight that two crops have.
    Each crop goes through the heads on its own, so batch norm sees one view at a time.
    """

    weights: Tensor

    def __init__(self, options: BootstrapOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.projector = Momentum(head(context.width, options))
        self.predictor = head(options.output, options)
        taught, large, small = map(context.crops, (options.taught, options.views, options.local_views))
        self.register_buffer("weights", pair_weights(taught, large, small), persistent=False)  # [teacher, student]

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        predictions = torch.cat([self.predictions(step.student(view)) for view in self.options.studied])
        distances = squared_distances(predictions, self.projections(step.teacher(self.options.taught)))
        return 2 * (distances * self.weights).sum()

    def predictions(self, features: Features) -> Tensor:
        """What the student foretells, `[crops, B, output]`."""
        return torch.stack([self.predictor(self.projector.online(crop)) for crop in features.pooled])

    @torch.no_grad()
    def projections(self, features: Features) -> Tensor:
        """What the teacher says, `[crops, B, output]`, without gradient."""
        return torch.stack([self.projector.target(crop) for crop in features.pooled])


def head(width: int, options: BootstrapOptions) -> nn.Sequential:
    """Projector or predictor: linear with bias, batch norm, ReLU, linear without bias, and nothing after it."""
    return mlp_head(width, options.hidden, options.output, 2, bias="hidden", last_norm="none")


@in_full_precision
def squared_distances(predictions: Tensor, projections: Tensor) -> Tensor:
    """The mean over images of `|o - t|^2 = 2 - 2 cos(o, t)` for every pair of crops, `[teacher, student]`.

    `predictions [student, B, D]` o and `projections [teacher, B, D]` t, of any length; projections take no gradient.
    BYOL eq. 2.
    """
    online, target = F.normalize(predictions, dim=-1), F.normalize(projections.detach(), dim=-1)
    return 2 - 2 * torch.einsum("tbd,sbd->ts", target, online) / online.shape[1]
