"""SimCLR (arXiv:2002.05709): contrast between all crops of the batch, with nothing but the student."""

from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Step, mlp_head, nt_xent
from sslcli_simclr.options import SimpleContrastOptions


class SimpleContrast(nn.Module):
    """NT-Xent over the projected crops of all ranks; all crops go through the projector together."""

    def __init__(self, options: SimpleContrastOptions, context: Context) -> None:
        super().__init__()
        check(options, context)
        self.views = options.views
        self.temperature = options.temperature
        self.projector = mlp_head(
            context.width, options.hidden, options.output, options.projector_layers, last_norm=options.last_norm
        )

    def forward(self, step: Step) -> Tensor:
        """A scalar."""
        features = step.student(self.views).pooled  # [crops, B, D]
        projected = self.projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        return nt_xent(projected, self.temperature)


def check(options: SimpleContrastOptions, context: Context) -> None:
    """Refuse a group with a single crop."""
    view = context.views.get(options.views)
    if view is not None and view.crops < 2:
        raise UserError(
            f"simclr: the view group {options.views!r} has one crop, and there is nothing to compare it with",
            f"set views.{options.views}.crops = 2",
        )
