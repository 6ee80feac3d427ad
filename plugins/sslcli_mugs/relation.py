"""The relation block: an image and its nearest neighbours look at each other."""

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import truncated_normal


class Relation(nn.Module):
    """An ordinary transformer block over [query, neighbour 1, ..., neighbour k]; the query's output is the group.

    No positions, no CLS of its own, no stochastic depth (Mugs, released code: one block of the backbone's shape).
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if not heads or width % heads:
            raise UserError(
                f"mugs.local_group: {heads} heads of attention do not divide a width of {width}",
                "set relation_heads to a divisor of backbone.width",
            )
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.block: Any = truncated_normal(Block(width, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm))

    def forward(self, queries: Tensor, neighbours: Tensor) -> Tensor:
        """Queries `[..., D]` and neighbours `[..., k, D]` to groups `[..., D]`, before the backbone's last norm."""
        groups: Tensor = self.block(sequence_of(queries, neighbours))[:, 0]
        return groups.view_as(queries)

    @torch.no_grad()
    def strongest(self, queries: Tensor, neighbours: Tensor) -> Tensor:
        """The share of its attention that a query gives to its strongest neighbour: mean over heads, a scalar."""
        attention, sequence = self.block.attn, self.block.norm1(sequence_of(queries, neighbours))
        rows, length, _ = sequence.shape
        query, key, _ = attention.qkv(sequence).view(rows, length, 3, attention.num_heads, -1).unbind(2)
        logits = torch.einsum("bhd,blhd->bhl", query[:, 0].float(), key.float()) * attention.scale
        strongest: Tensor = logits.softmax(dim=-1)[..., 1:].amax(dim=-1).mean()
        return strongest


def sequence_of(queries: Tensor, neighbours: Tensor) -> Tensor:
    """`[rows, 1 + k, D]`, the query first."""
    return torch.cat([queries[..., None, :], neighbours.to(queries.dtype)], dim=-2).flatten(0, -3)
