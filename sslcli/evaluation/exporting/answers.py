"""What a network says of a fixed batch, and how far two networks are apart: the proof that a copy is one."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli.errors import RunError
from sslcli.nn import Backbone

IMAGES, SEED = 4, 0


@dataclass(frozen=True)
class Answer:
    """Of a batch of images: pooled `[B, D]` and tokens after the last norm `[B, N, D]`, prefix tokens first."""

    pooled: Tensor
    tokens: Tensor


class Asked(nn.Module):
    """A backbone as a plain function of tensors: images `[B, 3, S, S]` to pooled and tokens."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled `[B, D]` and tokens `[B, N, D]`."""
        features = self.backbone.features(images)
        return features.pooled, features.normed


def batch(size: int, count: int = IMAGES) -> Tensor:
    """Normalised images `[count, 3, size, size]`, the same every time."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(SEED))


def answer(backbone: Backbone, images: Tensor) -> Answer:
    """What a backbone says of images."""
    with torch.no_grad():
        return Answer(*Asked(backbone).eval()(images))


def apart(first: Answer, second: Answer) -> float:
    """The largest absolute difference of two answers; infinite where their shapes differ or a number is none."""
    pairs = [(first.pooled, second.pooled), (first.tokens, second.tokens)]
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    return max(float((one - other).abs().nan_to_num(nan=float("inf")).max()) for one, other in pairs)


def agreed(run: Answer, tool: Answer, name: str, limit: float) -> float:
    """How far a tool's answer is from the run's. Raises RunError where that is more than `limit`.

    Features greater than 1 are allowed as many times more: the rounding of their sums grows with them.
    """
    difference, scale = apart(run, tool), max(1.0, float(run.tokens.abs().max()), float(run.pooled.abs().max()))
    if not difference <= limit * scale:
        raise RunError(
            f"{name} does not give the features of the run: they differ by {difference:.1e}, "
            f"and {limit * scale:.1e} is allowed",
            "nothing was written; another format may do: --to timm, or --to safetensors",
        )
    return difference
