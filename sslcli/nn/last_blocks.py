"""What the last blocks of a network of tokens give, each after the last norm: more than its one vector tells."""

import inspect
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.nn.backbone import Backbone
from sslcli.nn.encoders import TimmNetwork


def normed_outputs(backbone: Backbone, images: Tensor, blocks: int) -> Sequence[Tensor]:
    """What each of the last blocks gives, `[B, N, D]`, after the last norm."""
    if isinstance(backbone, TimmNetwork):
        return timm_outputs(backbone, images, blocks)
    caught: list[Tensor] = []
    with ExitStack() as hooks:
        for block in list(token_blocks(backbone))[-blocks:]:
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


def token_blocks(backbone: Backbone) -> Sequence[Any]:
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
