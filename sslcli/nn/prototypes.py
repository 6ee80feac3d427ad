"""Prototypes: a head that says how much an image is of each of K kinds, and the loss between two such answers.

DINO (arXiv:2104.14294), iBOT (arXiv:2111.07832) and Mugs' group discrimination (arXiv:2203.14415).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import PrototypeOptions, value_at
from sslcli.nn.gather import all_mean
from sslcli.nn.heads import mlp_head, truncated_normal
from sslcli.nn.momentum import Momentum
from sslcli.nn.precision import at_least_fp32, in_full_precision
from sslcli.nn.step import Limit, Step

ONE_PROTOTYPE = Limit(
    "all pictures fall on one prototype",
    least=0.01,
    hint="the centre does not keep up or the teacher is too sharp: raise teacher_temperature, lower optimizer.lr",
)
ALL_PROTOTYPES = Limit(
    "every picture is spread over all prototypes alike",
    most=0.99995,  # of ln K: networks that are merely fresh have less
    hint="the teacher says nothing: lower teacher_temperature, lengthen the warm-up of the learning rate",
)


class Prototypes(nn.Module):
    """Unit vectors `[..., width]` to logits `[..., count]`: a linear layer without bias, its weight g * v / |v|.

    With `unit`, the magnitudes g `[count, 1]` stay at one and do not learn.
    """

    def __init__(self, width: int, count: int, *, unit: bool = False) -> None:
        super().__init__()
        self.direction = nn.Parameter(nn.Linear(width, count, bias=False).weight.detach())
        self.magnitude = nn.Parameter(torch.ones(count, 1), requires_grad=not unit)

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits, in full precision; cosines where the magnitudes are one."""
        return prototype_logits(vectors, self.direction, self.magnitude)


class PrototypeHead(nn.Module):
    """Features `[..., width]` to logits `[..., count]`: an MLP with GELU and biases, unit length, prototypes."""

    def __init__(
        self, width: int, count: int, *, hidden: int = 2048, bottleneck: int = 256, layers: int = 3, unit: bool = False
    ) -> None:
        super().__init__()
        head = mlp_head(width, hidden, bottleneck, layers, bias=True, norm="none", last_norm="none", activation="gelu")
        self.projector = truncated_normal(head)
        self.last = Prototypes(bottleneck, count, unit=unit)

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.last(self.vectors(features))
        return logits

    def vectors(self, features: Tensor) -> Tensor:
        """The unit vectors `[..., bottleneck]` that the prototypes are compared with."""
        return F.normalize(self.projector(features), dim=-1)


def head_of(options: PrototypeOptions, width: int) -> PrototypeHead:
    """The head that a recipe asks for, for features of this width."""
    return PrototypeHead(
        width,
        options.prototypes,
        hidden=options.hidden,
        bottleneck=options.bottleneck,
        layers=options.layers,
        unit=options.norm_last_layer,
    )


class Centre(nn.Module):
    """The running mean of the teacher's logits over all ranks, `[count]`, taken off before sharpening."""

    mean: Tensor

    def __init__(self, count: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(count))

    @torch.no_grad()
    def forward(self, logits: Tensor, temperature: float) -> Tensor:
        """The teacher's shares of the prototypes, `[..., count]`, in full precision and without gradient."""
        return sharpened(logits, self.mean, temperature)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """c <- m c + (1 - m) * mean of `logits [..., count]` over all rows of all ranks; belongs after the loss."""
        mean = all_mean(at_least_fp32(logits).flatten(0, -2).mean(0))
        self.mean.lerp_(mean.to(self.mean.dtype), 1.0 - self.momentum)


class Distillation(nn.Module):
    """The student's head learns to say what the teacher's says of other crops, centred and sharpened.

        q_t = softmax((g'(x_t) - c) / tau_t),    - sum_m q_t[m] log softmax(g(x_s) / tau_s)[m]

    What a loss adds is which features `[crops, B, width]` enter, and how pairs of crops are weighed.
    """

    def __init__(self, options: PrototypeOptions, width: int) -> None:
        super().__init__()
        self.options = options
        self.head = Momentum(head_of(options, width))
        self.centre = Centre(options.prototypes, options.centre_momentum)

    def pairs(self, step: Step, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of every pair of crops, `[teacher, student]`, from features `[crops, B, D]`; logs entropies."""
        logits = step.once(f"{step.scope}/teacher_logits", lambda: self.taught(teacher))
        shares = self.centre(logits, value_at(self.options.teacher_temperature, step.progress))
        log_prototypes(step, shares)
        return pair_cross_entropy(self.head.online(student), shares, self.options.student_temperature)

    @torch.no_grad()
    def taught(self, features: Tensor) -> Tensor:
        """What the teacher's head says, `[crops, B, count]`."""
        logits: Tensor = self.head.target(features)
        return logits

    def after_step(self, step: Step) -> None:
        """The centre moves towards what the teacher said."""
        self.centre.update(step.shared[f"{step.scope}/teacher_logits"])


@in_full_precision
def prototype_logits(vectors: Tensor, direction: Tensor, magnitude: Tensor) -> Tensor:
    """`[..., width]` by `[count, width]` and `[count, 1]` to `[..., count]`.

    Not left to autocast: 8 bits of a cosine, divided by a temperature of 0.04, err by up to 0.05.
    """
    return F.linear(vectors, magnitude * F.normalize(direction, dim=1))


@in_full_precision
def sharpened(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """softmax((logits - centre) / temperature)."""
    return ((logits - centre) / temperature).softmax(dim=-1)


@in_full_precision
def cross_entropy(logits: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """- sum_m shares_m log softmax(logits / temperature)_m, row by row: `[..., count]` to `[...]`."""
    scaled = logits / temperature
    return scaled.logsumexp(dim=-1) - (shares * scaled).sum(dim=-1)


@in_full_precision
def pair_cross_entropy(logits: Tensor, shares: Tensor, temperature: float) -> Tensor:
    """The mean over images of the cross-entropy of every pair of crops, `[teacher, student]`.

    `logits [student, B, count]` of the student's crops, `shares [teacher, B, count]` of the teacher's. As shares sum to
    one, -sum_m q_m log softmax(z)_m = logsumexp(z) - q z: no softmax of the student is written out.
    """
    scaled = logits / temperature
    agreement = torch.einsum("tbm,sbm->tsb", shares, scaled)
    return (scaled.logsumexp(dim=-1) - agreement).mean(dim=-1)


@torch.no_grad()
def log_prototypes(step: Step, shares: Tensor) -> None:
    """Two entropies of the teacher's shares `[..., B, count]`, as shares of ln K, with what they must keep to.

    `prototype_entropy`, of the mean over the batch: near 0 when all images fall on one prototype; a batch of few images
    keeps it below 1. `image_entropy`, the mean over images: near 1 when every image is spread over all of them alike.
    """
    rows = shares.flatten(0, -2)
    whole = math.log(max(rows.shape[-1], 2))
    mean = all_mean(rows.mean(0))
    step.log("prototype_entropy", torch.special.entr(mean).sum() / whole, ONE_PROTOTYPE)
    step.log("image_entropy", torch.special.entr(rows).sum(-1).mean() / whole, ALL_PROTOTYPES)
