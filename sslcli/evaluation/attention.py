"""Where a vision transformer looks: the attention of CLS to the patches in its last block, head by head."""

from collections.abc import Callable
from math import isqrt
from typing import Any

import torch
from timm.layers import Attention
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import Backbone


def cls_attention(backbone: Backbone, images: Tensor) -> Tensor:
    """Shares of attention `[B, heads, rows, columns]` of normalised square images `[B, 3, S, S]`, as a map.

    Over all tokens, CLS and registers among them, they sum to one. Raises UserError for a backbone without CLS, and for
    attention that is not timm's plain one.
    """
    network = backbone.exported
    if not has_cls(backbone) or last_attention(network) is None:
        raise UserError(
            f"{type(network).__name__} has no CLS token whose attention could be shown",
            "take a plain vision transformer with CLS, or the map 'pca', which any backbone has",
        )
    return attention_of(backbone, images, slice(0, 1))


def patch_attention(backbone: Backbone, images: Tensor) -> Tensor:
    """As `cls_attention`, but the mean over how all patches attend: for a vision transformer without CLS."""
    if last_attention(backbone.exported) is None:
        raise UserError(
            f"the last block of {type(backbone.exported).__name__} has no plain attention that could be shown",
            "take a plain vision transformer, or the map 'pca', which any backbone has",
        )
    return attention_of(backbone, images, slice(backbone.prefix_tokens, None))


def has_cls(backbone: Backbone) -> bool:
    """Whether the first token is CLS."""
    return getattr(backbone.exported, "cls_token", None) is not None


def last_attention(network: nn.Module) -> Any:
    """The attention of the last block of a timm ViT; None where it is not timm's plain one."""
    blocks = getattr(network, "blocks", None)
    attention = getattr(blocks[-1], "attn", None) if isinstance(blocks, nn.Sequential | nn.ModuleList) else None
    return attention if type(attention) is Attention else None


def attention_of(backbone: Backbone, images: Tensor, queries: slice) -> Tensor:
    """Shares of attention `[B, heads, rows, columns]` that the patches get of some tokens, the mean over these."""
    attention = last_attention(backbone.exported)
    seen: list[Tensor] = []
    hook = attention.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        backbone.features(images)
    finally:
        hook.remove()
    shares = rows_of(attention, seen[0], queries)[..., backbone.prefix_tokens :]
    return shares.reshape(*shares.shape[:-1], *grid_of_square(shares.shape[-1]))


def rows_of(attention: Any, tokens: Tensor, queries: slice) -> Tensor:
    """How some tokens of `[B, N, D]` attend to all, in the mean, `[B, heads, N]`."""
    batch, count, _ = tokens.shape
    query, key, _ = attention.qkv(tokens).view(batch, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(query[:, :, queries]), attention.k_norm(key)
    scores: Tensor = (query * attention.scale) @ key.transpose(-2, -1)  # [B, heads, queries, N]
    return scores.float().softmax(dim=-1).mean(dim=2)


def principal_map(backbone: Backbone, images: Tensor) -> Tensor:
    """First principal component of each image's own patch tokens or last map, `[B, rows, columns]`, of any scale.

    Its sign is chosen so that the border of the image is lower than its middle.
    """
    patches = backbone.features(images).patches.float()  # [B, N, D]
    centred = patches - patches.mean(dim=1, keepdim=True)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    along = (centred @ directions[:, 0, :, None]).reshape(-1, *grid_of_square(patches.shape[1]))
    border = torch.ones_like(along[0], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    outward = along[:, border].mean(dim=1) > along.mean(dim=(1, 2))
    return torch.where(outward[:, None, None], -along, along)


def grid_of_square(count: int) -> tuple[int, int]:
    """Rows and columns of the patches of a square image."""
    side = isqrt(count)
    if side * side != count:
        raise UserError(f"{count} patches are no square grid", "show the backbone square images")
    return side, side


class MapEncoder(nn.Module):
    """Images `[B, 3, S, S]` to maps, one flat row an image, `[B, rows * columns]`: for `features.extract`."""

    def __init__(self, backbone: Backbone, make: Callable[[Backbone, Tensor], Tensor]) -> None:
        super().__init__()
        self.backbone, self.make = backbone, make

    def forward(self, images: Tensor) -> Tensor:
        """One map an image; heads are averaged."""
        found = self.make(self.backbone, images)
        return (found.mean(dim=1) if found.ndim == 4 else found).flatten(1)
