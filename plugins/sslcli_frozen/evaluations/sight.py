"""What a linear classifier can see of a frozen backbone: tokens of its last blocks, or the one vector that it gives.

sight   encoder from images to rows: CLS and mean patch token of each of the last n blocks, after the last norm
layout  how many of the blocks a head reads, and which of these tokens
"""

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.nn import Backbone
from sslcli.nn.encoders import TimmNetwork

OWN = "own"  # the vector that the encoder gives


@dataclass(frozen=True)
class Layout:
    """What a head reads: tokens of the last `layers` blocks; or, with `own`, the encoder's one vector."""

    layers: int
    pooling: str

    def cut(self, rows: Tensor, sight: "Sight") -> Tensor:
        """The part `[B, D']` of rows `[B, F]` that a head reads."""
        if self.pooling == OWN:
            return rows
        tokens = rows.view(len(rows), sight.blocks, sight.parts, -1)
        cls, mean = tokens[:, -self.layers :, 0].flatten(1), tokens[:, -self.layers :, -1].flatten(1)
        if self.pooling == "both":
            return torch.cat([cls, tokens[:, -1, -1]], dim=1)
        return cls if self.pooling == "cls" else mean


@dataclass(frozen=True)
class Sight:
    """An encoder, `[B, 3, H, W]` to rows, and what the rows hold: `blocks` times `parts` tokens, or none to choose."""

    encoder: nn.Module
    blocks: int = 0
    parts: int = 1

    @property
    def name(self) -> str:
        """What tells its rows apart from other features of the same backbone."""
        return f"last-blocks-{self.blocks}"


class LastBlocks(nn.Module):
    """CLS, where there is one, and mean patch token of the last blocks after the last norm: `[B, blocks, parts, D]`."""

    def __init__(self, backbone: Backbone, blocks: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images `[B, 3, H, W]`."""
        prefix = self.backbone.prefix_tokens
        outputs = normed_outputs(self.backbone, images, self.blocks)
        return torch.stack([tokens_of(output, prefix) for output in outputs], dim=1)


def tokens_of(output: Tensor, prefix: int) -> Tensor:
    """CLS and mean patch token, `[B, 2, D]`, of tokens `[B, N, D]`; the mean alone where no token comes before it."""
    mean = output[:, prefix:].mean(dim=1)
    return torch.stack([output[:, 0], mean] if prefix else [mean], dim=1)


def normed_outputs(backbone: Backbone, images: Tensor, blocks: int) -> Sequence[Tensor]:
    """What each of the last blocks gives, `[B, N, D]`, after the last norm."""
    if isinstance(backbone, TimmNetwork):
        return timm_outputs(backbone, images, blocks)
    caught: list[Tensor] = []
    with ExitStack() as hooks:
        for block in list(blocks_of(backbone))[-blocks:]:
            hook = block.register_forward_hook(lambda _, __, output: caught.append(output))
            hooks.callback(hook.remove)
        backbone.features(images)
    return [backbone.last_norm(output) for output in caught]


def timm_outputs(backbone: TimmNetwork, images: Tensor, blocks: int) -> Sequence[Tensor]:
    """The same of a network of timm, by its own way to its blocks."""
    named = bool(backbone.prefix_tokens)
    found = backbone.model.forward_intermediates(
        images,
        indices=blocks,
        return_prefix_tokens=named,
        norm=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return [torch.cat([prefix, patches], dim=1) for patches, prefix in found] if named else found


def blocks_of(backbone: Backbone) -> Sequence[Any]:
    """The blocks of a network of tokens; none where their outputs are not tokens, or are out of reach."""
    blocks = getattr(backbone.exported, "blocks", None)
    if not isinstance(blocks, nn.Sequential | nn.ModuleList):
        return ()
    if isinstance(backbone, TimmNetwork):
        way = getattr(backbone.model, "forward_intermediates", None)
        reached = way is not None and "return_prefix_tokens" in inspect.signature(way).parameters
    else:
        reached = "tokens" in backbone.abilities
    return tuple(blocks) if reached else ()


def sight_of(encoder: nn.Module, blocks: int) -> Sight:
    """The last blocks of the backbone inside an encoder, or the encoder as it is where it has none."""
    backbone = getattr(encoder, "backbone", None)
    if not isinstance(backbone, Backbone) or not blocks_of(backbone):
        return Sight(encoder)
    return Sight(LastBlocks(backbone, blocks), blocks, parts=2 if backbone.prefix_tokens else 1)
