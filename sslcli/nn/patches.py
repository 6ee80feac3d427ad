"""Patches of images, and random subsets of them (MAE, arXiv:2111.06377)."""

from dataclasses import dataclass

import torch
from torch import Tensor


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Images `[B, C, H, W]` to patches `[B, N, p * p * C]`, row by row; inside a patch row, column, channel."""
    batch, channels, height, width = images.shape
    rows, columns = height // patch_size, width // patch_size
    split = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return split.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch_size**2 * channels)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int]) -> Tensor:
    """Patches `[B, N, p * p * C]` of a grid of rows by columns back to images `[B, C, H, W]`."""
    rows, columns = grid
    split = patches.reshape(len(patches), rows, columns, patch_size, patch_size, -1)
    return split.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), -1, rows * patch_size, columns * patch_size)


def patch_statistics(patches: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Mean and deviation `[..., 1]` of each patch, over pixels and channels: sqrt(unbiased variance + eps)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + eps).sqrt()


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch `[..., P]` less its mean, by its deviation; a constant patch becomes zero."""
    mean, deviation = patch_statistics(patches)
    return (patches - mean) / deviation


@dataclass(frozen=True)
class Masking:
    """Which patches are seen: `keep [B, K]` are their places, `mask [B, N]` is 1 where a patch is hidden.

    `restore [B, N]` puts tokens in the order (kept, hidden) back into their places.
    """

    keep: Tensor
    restore: Tensor
    mask: Tensor


def kept_patches(patches: int, mask_ratio: float) -> int:
    """How many patches are seen, rounded down as the released MAE does: 19 of 196 at a ratio of 0.9."""
    return int(patches * (1 - mask_ratio))


def random_masking(noise: Tensor, keep: int) -> Masking:
    """The `keep` patches with the smallest noise `[B, N]` are seen."""
    order = noise.argsort(dim=1, stable=True)
    restore = order.argsort(dim=1)
    return Masking(order[:, :keep], restore, (restore >= keep).to(torch.float32))


def put_back(tokens: Tensor, restore: Tensor) -> Tensor:
    """Tokens `[B, N, D]` in the order (kept, hidden) put into their places."""
    return tokens.gather(1, restore.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
