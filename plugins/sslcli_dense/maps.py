"""The patch tokens of a backbone as maps, for images of any size that it can be brought to."""

from typing import Any

import torch
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import Backbone
from sslcli.nn.image_sizes import Size, tokens_at
from sslcli.nn.last_blocks import normed_outputs, token_blocks


class Maps(nn.Module):
    """Images `[B, 3, H, W]` to maps of patch tokens `[B, D * layers, rows, columns]`, after the last norm."""

    def __init__(self, backbone: Backbone, layers: int = 1) -> None:
        super().__init__()
        self.backbone, self.layers = backbone, layers

    def forward(self, images: Tensor) -> Tensor:
        """The tokens of the last blocks, one after the other."""
        tokens = self.backbone.features(images).patches if self.layers == 1 else self.last_patches(images)
        rows, columns = grid_of(tokens.shape[1], (images.shape[2], images.shape[3]))
        return tokens.mT.reshape(len(tokens), -1, rows, columns)

    def last_patches(self, images: Tensor) -> Tensor:
        """Patch tokens `[B, N, D * layers]`. Raises UserError where there are fewer blocks."""
        if len(token_blocks(self.backbone)) < self.layers:
            name = type(self.backbone.exported).__name__
            raise UserError(f"{name} has no {self.layers} last blocks to take tokens from", "use --layers 1")
        outputs = normed_outputs(self.backbone, images, self.layers)
        return torch.cat(list(outputs), dim=-1)[:, self.backbone.prefix_tokens :]


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
