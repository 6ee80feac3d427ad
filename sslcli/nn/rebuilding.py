"""What a masked autoencoder pays for the patches that it rebuilt (MAE, arXiv:2111.06377)."""

import torch
from torch import Tensor

from sslcli.nn.patches import normalise_patches, patch_statistics
from sslcli.nn.precision import in_full_precision


def rebuilding_error(predicted: Tensor, pixels: Tensor, mask: Tensor, *, norm_pixels: bool) -> Tensor:
    """The squared error of patches `[B, N, P]` that the mask `[B, N]` hides; of normalised ones if so told."""
    return masked_error(predicted, normalise_patches(pixels) if norm_pixels else pixels, mask)


@in_full_precision
def masked_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The squared error of patches `[B, N, P]`, its mean over pixels and over the patches whose mask `[B, N]` is 1."""
    error = (predicted - target).square().mean(dim=-1)
    return (error * mask).sum() / mask.sum()


@in_full_precision
@torch.no_grad()
def pixel_error(predicted: Tensor, pixels: Tensor, mask: Tensor, *, norm_pixels: bool) -> Tensor:
    """The error in pixels, after normalised patches got back their own mean and deviation."""
    if norm_pixels:
        mean, deviation = patch_statistics(pixels)
        predicted = predicted * deviation + mean
    return masked_error(predicted, pixels, mask)
