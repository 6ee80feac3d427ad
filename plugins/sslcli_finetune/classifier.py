"""A backbone with a classifier on it, as training begins.

vector   the backbone's own, CLS, the mean of patch tokens, or that mean before the last norm, under a new norm
head     linear, or linear - GELU - linear; of small weights, so that the first answers are nearly uniform
"""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pool, pooled
from sslcli_finetune.protocols import Settings

PLACES = ("drop_path", "drop_path1", "drop_path2")  # what timm's residual blocks call it
HIDDEN_STD = 0.02


class Classifier(nn.Module):
    """Images `[B, 3, S, S]` to logits `[B, classes]`."""

    def __init__(self, backbone: Backbone, pool: Pool, norm: nn.Module | None, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.pool = backbone, pool
        self.norm, self.head = norm, head  # norm: of the mean of patch tokens, where it is a new one

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images."""
        features = self.backbone.features(images)
        vectors = pooled(features, self.pool) if self.norm is None else self.norm(features.patches.mean(dim=-2))
        logits: Tensor = self.head(vectors)
        return logits


def make_classifier(backbone: Backbone, pool: Pool, settings: Settings, classes: int) -> Classifier:
    """A copy of the backbone that learns in every part, with a new head. Raises UserError where it has no such vector.

    Pool is what `vector = "auto"` stands for. The head is drawn from the global generator.
    """
    backbone = copy.deepcopy(backbone).requires_grad_(True)
    norm = take_norm(backbone) if settings.vector == "fresh" else None
    pool = pool_of(settings.vector, pool)
    if norm is None and pool == "cls" and not backbone.prefix_tokens:
        raise UserError("this backbone has no CLS token for the classifier to read", "use '--vector auto'")
    set_drop_path(backbone.exported, settings.drop_path)
    return Classifier(backbone, pool, norm, make_head(width_of(backbone), settings, classes))


def width_of(backbone: Backbone) -> int:
    """How wide the vectors of a backbone are; for some networks of timm that is wider than their tokens."""
    return int(getattr(backbone.exported, "head_hidden_size", None) or backbone.width)


def pool_of(vector: str, pool: Pool) -> Pool:
    """The pooling behind a vector."""
    named: dict[str, Pool] = {"cls": "cls", "mean": "mean"}
    return named.get(vector, pool)


def take_norm(backbone: Backbone) -> nn.Module:
    """The last norm taken out of a backbone, and given its random start. Raises UserError where there is none."""
    network: Any = backbone.exported
    norm = getattr(network, "norm", None)
    if not isinstance(norm, nn.LayerNorm) or not hasattr(network, "blocks"):
        raise UserError(
            f"{type(network).__name__} has no last norm to begin anew", "use '--vector auto', or another protocol"
        )
    network.norm = nn.Identity()
    fresh = copy.deepcopy(norm)
    fresh.reset_parameters()
    return fresh


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Stochastic depth (arXiv:1603.09382) in every residual block, from 0 at the first to `rate` at the last."""
    blocks = list(residual_blocks(network))
    for block, chance in zip(blocks, torch.linspace(0.0, rate, len(blocks)).tolist()):
        for place in (place for place in PLACES if hasattr(block, place)):
            setattr(block, place, DropPath(chance) if chance else nn.Identity())


def residual_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks of a network of timm that have a place for drop path."""
    return (module for module in network.modules() if any(hasattr(module, place) for place in PLACES))


def make_head(width: int, settings: Settings, classes: int) -> nn.Module:
    """The layer, or two, that answers."""
    last = nn.Linear(settings.head_hidden or width, classes)
    nn.init.trunc_normal_(last.weight, std=settings.head_std) if settings.head_std else nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    if not settings.head_hidden:
        return last
    first = nn.Linear(width, settings.head_hidden)
    nn.init.trunc_normal_(first.weight, std=HIDDEN_STD)
    nn.init.zeros_(first.bias)
    return nn.Sequential(first, nn.GELU(), last)
