"""What turns images into the vectors that are judged: a backbone and a pooling, any timm model, or nothing at all."""

from typing import Any, Literal

from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn import Backbone, Features

Pool = Literal["auto", "cls", "mean"]


class Pooled(nn.Module):
    """Images to one vector each, `[B, 3, H, W]` to `[B, D]`, by a backbone's own pooling or another one."""

    def __init__(self, backbone: Backbone, pool: Pool = "auto") -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        """One vector an image."""
        return pooled(self.backbone.features(images), self.pool)


def pooled(features: Features, pool: Pool) -> Tensor:
    """The backbone's own vector (`auto`), or after its last norm the CLS token or the mean of the patch tokens."""
    if pool == "cls" and not features.prefix:
        raise UserError("this backbone has no CLS token", "use '--pool auto' or '--pool mean'")
    if pool == "auto":
        return features.pooled
    return features.cls if pool == "cls" else features.patches.mean(dim=-2)


class Pixels(nn.Module):
    """The pixels themselves: what a backbone must beat."""

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W]` to `[B, 3 * H * W]`."""
        return images.flatten(1)


class TimmNetwork(Backbone):
    """Any image model of timm, for judging: its last tokens or map, and the vector that its own head would read."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.width = model.num_features
        self.prefix_tokens = getattr(model, "num_prefix_tokens", 0)

    def features(self, images: Tensor) -> Features:
        """Features of normalised images `[B, 3, H, W]`; those before the last norm are not kept apart."""
        found = self.model.forward_features(images)
        tokens = self.in_rows(found)
        return Features(tokens, tokens, self.prefix_tokens, self.model.forward_head(found, pre_logits=True))

    def in_rows(self, found: Tensor) -> Tensor:
        """Tokens `[B, N, D]`, also from maps with channels first or last."""
        if found.ndim == 4 and str(getattr(self.model, "output_fmt", "NCHW")).upper().endswith("NCHW"):
            found = found.permute(0, 2, 3, 1)
        return found.flatten(1, 2) if found.ndim == 4 else found

    @property
    def exported(self) -> nn.Module:
        """The timm model."""
        exported: nn.Module = self.model
        return exported
