"""What a backbone says of images: tokens before and after its last norm, and one vector an image."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Features:
    """Tokens of images, `[..., N, D]`: prefix tokens (CLS, registers) first, then the patches row by row.

    For a whole view group the leading axes are `[crops, B]`; for one crop, `[B]`.
    """

    tokens: Tensor  # [..., N, D], before the last norm
    normed: Tensor  # [..., N, D], after it
    prefix: int  # how many of the N are prefix tokens
    pooled: Tensor  # [..., D], the vector that the backbone is judged by

    @property
    def cls(self) -> Tensor:
        """The CLS token after the last norm, `[..., D]`; the pooled vector where the backbone has no CLS."""
        return self.normed[..., 0, :] if self.prefix else self.pooled

    @property
    def patches(self) -> Tensor:
        """The patch tokens after the last norm, `[..., N - prefix, D]`."""
        return self.normed[..., self.prefix :, :]

    def unflatten(self, crops: int) -> "Features":
        """`[crops * B, ...]` to `[crops, B, ...]`."""
        tokens, normed, pooled = (
            tensor.view(crops, -1, *tensor.shape[1:]) for tensor in (self.tokens, self.normed, self.pooled)
        )
        return Features(tokens, normed, self.prefix, pooled)

    def __getitem__(self, crop: int | slice) -> "Features":
        """One crop, or some, of a group's features; on flat features, some rows."""
        return Features(self.tokens[crop], self.normed[crop], self.prefix, self.pooled[crop])

    def detach(self) -> "Features":
        """The same numbers without a gradient."""
        return Features(self.tokens.detach(), self.normed.detach(), self.prefix, self.pooled.detach())

    @staticmethod
    def cat(features: "list[Features]") -> "Features":
        """Groups of crops `[crops, B, ...]` one after the other; a single one as it is."""
        first = features[0]
        if len(features) == 1:
            return first
        return Features(
            torch.cat([f.tokens for f in features]),
            torch.cat([f.normed for f in features]),
            first.prefix,
            torch.cat([f.pooled for f in features]),
        )
