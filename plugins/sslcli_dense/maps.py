"""The patch tokens of a backbone as maps, for images of any size that it can be brought to."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import Backbone

Size = tuple[int, int]  # height and width


class Maps(nn.Module):
    """Images `[B, 3, H, W]` to maps of patch tokens `[B, D * layers, rows, columns]`, after the last norm."""

    def __init__(self, backbone: Backbone, layers: int = 1) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers

    def forward(self, images: Tensor) -> Tensor:
        """The tokens of the last blocks, one after the other."""
        with watched(self.backbone, self.layers) as seen:
            features = self.backbone.features(images)
        tokens = features.patches if self.layers == 1 else torch.cat(seen, dim=-1)[:, features.prefix :]
        rows, columns = grid_of(tokens.shape[1], (images.shape[2], images.shape[3]))
        return tokens.mT.reshape(len(tokens), -1, rows, columns)


@contextmanager
def watched(backbone: Backbone, layers: int) -> Iterator[list[Tensor]]:
    """What the last blocks give, each under the last norm, `[B, N, D]`, while images go through. Raises UserError."""
    seen: list[Tensor] = []
    if layers == 1:
        yield seen
        return
    network: Any = backbone.exported
    blocks, norm = getattr(network, "blocks", None), getattr(network, "norm", None)
    if blocks is None or norm is None or len(blocks) < layers:
        raise UserError(f"{type(network).__name__} has no {layers} last blocks to take tokens from", "use --layers 1")
    hooks = [block.register_forward_hook(lambda *call: seen.append(norm(call[-1]))) for block in blocks[-layers:]]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def grid_of(count: int, size: Size) -> Size:
    """Rows and columns of the patches of an image of this size. Raises UserError."""
    rows = max(round((count * size[0] / size[1]) ** 0.5), 1)
    columns = count // rows
    if rows * columns != count:
        raise UserError(
            f"{count} tokens are no grid of patches over {size[0]} x {size[1]} pixels",
            "judge a backbone whose patch tokens lie on a grid: a ViT, or a network with a last map",
        )
    return rows, columns


def stride_of(backbone: Backbone, native: int) -> int:
    """How many pixels a side one token stands for: as the network says, or counted in an image of its own size.

    Raises UserError for a backbone without patch tokens.
    """
    count = tokens_at(backbone, (native, native))
    if count == 0:
        raise UserError(f"{type(backbone.exported).__name__} gives no patch tokens", "judge a ViT or a ResNet")
    rows, _ = grid_of(count, (native, native))
    known: Any = getattr(backbone.exported, "feature_info", None) or [{}]  # of timm
    layers = known if isinstance(known, list) else known.info
    return int(getattr(backbone, "patch_size", 0) or layers[-1].get("reduction", 0) or native // rows)


def tokens_at(backbone: Backbone, size: Size) -> int:
    """How many patch tokens an image of this size has."""
    device = next(iter(backbone.parameters())).device
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            return backbone.features(torch.zeros(1, 3, *size, device=device)).patches.shape[1]
    finally:
        backbone.train(training)


def fitted(backbone: Backbone, size: Size) -> Backbone:
    """The backbone for images of this size: itself, or a copy whose table of positions is resized. Raises UserError."""
    try:
        tokens_at(backbone, size)
        return backbone
    except (AssertionError, RuntimeError, ValueError) as refusal:
        network = deepcopy(backbone)
        resize = getattr(network.exported, "set_input_size", None)
        if resize is None:
            raise no_such_size(backbone, size) from refusal
    try:
        resize(img_size=size)
        tokens_at(network, size)
    except (AssertionError, RuntimeError, ValueError, TypeError) as refusal:
        raise no_such_size(backbone, size) from refusal
    return network


def no_such_size(backbone: Backbone, size: Size) -> UserError:
    """The error for a network that takes images of one size only."""
    name = type(backbone.exported).__name__
    return UserError(f"{name} takes no images of {size[0]} x {size[1]} pixels", "leave --image-size out")
