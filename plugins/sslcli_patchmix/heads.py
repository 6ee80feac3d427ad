"""Projector and predictor, which the losses of PatchMix share, and what they make of a step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Momentum, Step, at_least_fp32, gather, mlp_head
from sslcli_patchmix.options import SimilarityOptions

SIZES = ("projector_layers", "predictor_layers", "hidden", "output")


class Heads(nn.Module):
    """MoCo v3's heads: queries are predictions of the student's projections, keys the teacher's projections.

    Every view goes through them on its own, so batch norm sees one view at a time; all small crops are one view.
    """

    def __init__(self, options: SimilarityOptions, width: int) -> None:
        super().__init__()
        self.key = f"patchmix/{options.heads}"
        self.sizes = sizes_of(options)
        hidden, output = options.hidden, options.output
        self.projector = Momentum(mlp_head(width, hidden, output, options.projector_layers))
        self.predictor = mlp_head(output, hidden, output, options.predictor_layers)

    def queries(self, step: Step, view: str) -> Tensor:
        """Predictions of unit length, `[B, output]` of a crop or `[crops, B, output]` of a group; made once a step."""
        return step.once(f"{self.key}/queries/{view}", lambda: self.predicted(step.student(view).pooled))

    def keys(self, step: Step, view: str) -> Tensor:
        """Keys of all processes of unit length, `[W * B, output]` of a crop, without gradient; made once a step."""
        return step.once(f"{self.key}/keys/{view}", lambda: gather(self.projected(step.teacher(view).pooled)))

    def predicted(self, vectors: Tensor) -> Tensor:
        """The student's vectors `[..., D]` through projector and predictor."""
        rows: Tensor = self.predictor(self.projector.online(vectors.flatten(0, -2)))
        return unit(rows).view(*vectors.shape[:-1], -1)

    @torch.no_grad()
    def projected(self, vectors: Tensor) -> Tensor:
        """The teacher's vectors `[B, D]` through its projector."""
        return unit(self.projector.target(vectors))


def unit(vectors: Tensor) -> Tensor:
    """Vectors at unit length, in full precision."""
    return F.normalize(at_least_fp32(vectors), dim=-1)


def sizes_of(options: SimilarityOptions) -> dict[str, int]:
    """What losses must agree on to share heads."""
    return {name: getattr(options, name) for name in SIZES}


def shared_heads(options: SimilarityOptions, context: Context) -> Heads:
    """The heads of this name: those that an earlier loss of the model has, or new ones."""
    heads = context.once(f"patchmix/{options.heads}", lambda: Heads(options, context.width))
    for name, size in sizes_of(options).items():
        if heads.sizes[name] != size:
            raise UserError(
                f"patchmix: one loss has {name} = {heads.sizes[name]} and another {size}, and they share the heads "
                f"{options.heads!r}",
                f'let {name} be the same in both, or give one of them heads of its own: heads = "other"',
            )
    return heads
