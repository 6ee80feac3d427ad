"""Crops of several sizes in one forward: the tokens of all groups lie one after the other, image by image.

    flat = [T, D], T = sum over groups of B_i * N_i
    flat = flat + drop_path(scale(attention(norm(flat))))     attention: within each image, group by group
    flat = flat + drop_path(scale(mlp(norm(flat))))           drop path: one draw for each image

Norms, projections and MLPs see each token alone, so they run once over everything; the result is that of one forward
for each group. A block whose parts do more than that is not packed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers import Attention, GluMlp, Mlp, SwiGLU
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sslcli.nn.precision import in_full_precision

TOKENWISE_MLPS = (Mlp, GluMlp, SwiGLU)


@dataclass(frozen=True)
class Layout:
    """Where the groups lie in `flat [T, D]`: images and tokens of each, `(B_i, N_i)`."""

    groups: tuple[tuple[int, int], ...]

    @staticmethod
    def of(sequences: Sequence[Tensor]) -> "Layout":
        """The layout of groups `[B_i, N_i, D]`."""
        return Layout(tuple((tokens.shape[0], tokens.shape[1]) for tokens in sequences))

    def split(self, flat: Tensor) -> list[Tensor]:
        """`[T, ...]` to the groups, `[B_i, N_i, ...]`, without copying."""
        parts = torch.split(flat, [images * tokens for images, tokens in self.groups])
        return [part.view(*group, *flat.shape[1:]) for part, group in zip(parts, self.groups)]

    def spread(self, factors: Tensor) -> Tensor:
        """One number of each image, `[sum of B_i, 1]`, to all of its tokens, `[T, 1]`."""
        parts = torch.split(factors, [images for images, _ in self.groups])
        return torch.cat([part.expand(group).reshape(-1, 1) for part, group in zip(parts, self.groups)])


def pack(sequences: Sequence[Tensor]) -> Tensor:
    """Groups `[B_i, N_i, D]` to `[T, D]`."""
    return torch.cat([tokens.flatten(0, 1) for tokens in sequences])


def packable(block: nn.Module) -> bool:
    """Whether a block is timm's plain one, of parts that see each token alone, attention apart."""
    return plain(block) and isinstance(getattr(block, "mlp", None), TOKENWISE_MLPS)


def plain(block: nn.Module) -> bool:
    """Whether attention and residuals of a block are those that are written out here; its MLP may be any."""
    return type(block) is Block and type(block.attn) is Attention


def packed_block(block: Any, flat: Tensor, layout: Layout) -> Tensor:
    """`Block.forward` of timm on packed tokens `[T, D]`."""
    attended = packed_attention(block.attn, block.norm1(flat), layout)
    flat = flat + drop_images(block.drop_path1, block.ls1(attended), layout)
    return flat + drop_images(block.drop_path2, block.ls2(block.mlp(block.norm2(flat))), layout)


def packed_attention(
    attention: Any, flat: Tensor, layout: Layout, choose: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """`Attention.forward` of timm on packed tokens `[T, D]`: no token sees another image.

    `choose`, where it is given, makes a mask of the logits of each group.
    """
    qkv = attention.qkv(flat).unflatten(-1, (3, attention.num_heads, attention.head_dim))  # [T, 3, heads, d]
    attended = attention.norm(pack([attend_within(attention, group, choose) for group in layout.split(qkv)]))
    gate = getattr(attention, "gate", None)  # older releases of timm have none
    if gate is not None:
        attended = attended * gate(flat).sigmoid()
    output: Tensor = attention.proj_drop(attention.proj(attended))
    return output


def attend_within(attention: Any, qkv: Tensor, choose: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Attention within each image of one group, `[B, N, 3, heads, d]` to `[B, N, heads * d]`."""
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # [B, heads, N, d] each
    query, key = attention.q_norm(query), attention.k_norm(key)
    attended = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=None if choose is None else chosen(query, key, attention.scale, choose),
        dropout_p=attention.attn_drop.p if attention.training else 0.0,
        scale=attention.scale,
    )
    return attended.transpose(1, 2).flatten(2)


@in_full_precision
@torch.no_grad()
def chosen(query: Tensor, key: Tensor, scale: float, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """The mask that is made of the logits of each head, `[B, heads, N, N]`."""
    return choose(scale * (query @ key.transpose(-2, -1)))


def drop_images(drop_path: Any, residual: Tensor, layout: Layout) -> Tensor:
    """Stochastic depth on packed tokens `[T, D]`: an image keeps its whole residual, scaled up, or loses it."""
    if isinstance(drop_path, nn.Identity) or not drop_path.training or drop_path.drop_prob == 0.0:
        return residual
    images = sum(count for count, _ in layout.groups)
    return residual * layout.spread(drop_path(residual.new_ones(images, 1)))
