"""What a linear classifier can see of a frozen backbone: tokens of its last blocks, or the one vector that it gives.

sight   encoder from images to rows: CLS and mean patch token of each of the last n blocks, after the last norm
layout  how many of the blocks a head reads, and which of these tokens
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sslcli.nn import Backbone
from sslcli.nn.last_blocks import normed_outputs, token_blocks

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


def sight_of(encoder: nn.Module, blocks: int) -> Sight:
    """The last blocks of the backbone inside an encoder, or the encoder as it is where it has none."""
    backbone = getattr(encoder, "backbone", None)
    if not isinstance(backbone, Backbone) or not token_blocks(backbone):
        return Sight(encoder)
    return Sight(LastBlocks(backbone, blocks), blocks, parts=2 if backbone.prefix_tokens else 1)
