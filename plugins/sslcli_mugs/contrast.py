"""What instance and local-group discrimination have in common: heads, a queue of keys, InfoNCE over pairs of crops."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.nn import Momentum, Queue, Step, at_least_fp32, mlp_head, queue_contrast, queue_size, truncated_normal
from sslcli_mugs.crops import total, weights_of
from sslcli_mugs.options import ContrastOptions


class QueueContrast(nn.Module):
    """Vectors of the student's crops find the teacher's keys of other crops of the same image, among a queue.

    k = |h_t(x_t)|,  p = |g(|h_s(x_s)|)|,  - log [e^{p k / tau} / (e^{p k / tau} + sum_j e^{p q_j / tau})]

    with the projectors h, the student's predictor g, and |.| bringing to unit length (Mugs, released code).
    """

    weights: Tensor

    def __init__(self, name: str, options: ContrastOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("weights", weights_of(options, context), persistent=False)
        projector = mlp_head(
            context.width,
            options.hidden,
            options.output,
            3,
            norm=options.head_norm,
            last_norm="none",
            activation="gelu",
        )
        self.projector = Momentum(truncated_normal(projector))
        self.predictor = mlp_head(
            options.output,
            options.predictor_hidden,
            options.output,
            2,
            norm="none",
            last_norm="none",
            activation="gelu",
        )
        brought = len(self.weights) * context.batch_size  # by one step: a key of each of the teacher's crops
        size = queue_size(options.queue, least=brought, samples=context.samples, what=f"{name}: queue")
        self.queue = Queue(size, options.output, unit=True)

    def forward(self, step: Step, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of vectors `[crops, B, D]`, a scalar; the queue is that of the steps before."""
        keys = step.once(f"{step.scope}/keys", lambda: self.keys(teacher))
        pairs = queue_contrast(self.queries(student), keys, self.queue.rows, self.options.temperature)
        return total(pairs, self.weights, self.options)

    def queries(self, vectors: Tensor) -> Tensor:
        """Unit predictions `[crops, B, output]`."""
        projected = rowwise(self.projector.online, vectors)
        if self.options.norm_before_predictor:
            projected = unit(projected)
        return unit(rowwise(self.predictor, projected))

    @torch.no_grad()
    def keys(self, vectors: Tensor) -> Tensor:
        """Unit projections of the teacher's crops, `[crops, B, output]`."""
        return unit(rowwise(self.projector.target, vectors))

    def push(self, step: Step) -> None:
        """The keys of this step into the queue: those of all ranks crop by crop."""
        for keys in step.shared[f"{step.scope}/keys"]:
            self.queue.push(keys)


def unit(vectors: Tensor) -> Tensor:
    """Vectors at unit length, in full precision."""
    return F.normalize(at_least_fp32(vectors), dim=-1)


def rowwise(head: nn.Module, vectors: Tensor) -> Tensor:
    """A head on `[crops, B, D]`, all rows at once: batch norm, which wants two axes, sees every crop."""
    output: Tensor = head(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
    return output
