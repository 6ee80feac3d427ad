"""MAE (arXiv:2111.06377): encode the patches that are seen, rebuild the pixels of the others."""

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import (
    Step,
    in_full_precision,
    kept_patches,
    normalise_patches,
    patch_statistics,
    patchify,
    random_masking,
)
from sslcli.nn.decoder import MaskedDecoder
from sslcli_mae.options import MaskedAutoencoderOptions


class MaskedAutoencoder(nn.Module):
    """The mean squared error of the hidden patches of a view group; every crop is masked on its own."""

    def __init__(self, options: MaskedAutoencoderOptions, context: Context) -> None:
        super().__init__()
        check(options, context)
        self.views = options.views
        self.norm_pixels = options.norm_pixels
        self.patch_size = context.patch_size
        self.keep = kept_patches(context.grid[0] * context.grid[1], options.mask_ratio)
        self.decoder = MaskedDecoder(
            context.width,
            context.patch_size**2 * 3,
            grid=context.grid,
            prefix=context.prefix_tokens,
            decoder_width=options.decoder_width,
            depth=options.decoder_depth,
            heads=options.decoder_heads,
        )

    def forward(self, step: Step) -> Tensor:
        """A scalar; `pixel_error` is logged in squared units of the normalised image, whatever is rebuilt."""
        images = step.images(self.views)
        tokens = step.backbone.embed(images.flatten(0, 1))  # [crops * B, N, D]
        noise = step.uniform("mask", len(images), tokens.shape[1])  # [B, crops, N]
        masking = random_masking(noise.transpose(0, 1).flatten(0, 1), self.keep)
        seen = step.backbone.encode(tokens, keep=masking.keep).normed
        predicted = self.decoder(seen, masking.restore)
        pixels = patchify(images.flatten(0, 1), self.patch_size)
        step.log("pixel_error", pixel_error(predicted.detach(), pixels, masking.mask, norm_pixels=self.norm_pixels))
        target = normalise_patches(pixels) if self.norm_pixels else pixels
        return masked_error(predicted, target, masking.mask)


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


def check(options: MaskedAutoencoderOptions, context: Context) -> None:
    """Refuse what cannot be masked or rebuilt."""
    patches = context.grid[0] * context.grid[1]
    if not 0 < kept_patches(patches, options.mask_ratio) < patches:
        raise UserError(
            f"mae: a mask ratio of {options.mask_ratio} leaves none or all of {patches} patches to see",
            "choose another loss.mask_ratio, or smaller patches",
        )
    if options.decoder_width % options.decoder_heads:
        raise UserError(
            f"mae: a decoder of width {options.decoder_width} cannot be split into {options.decoder_heads} heads",
            "make decoder_width a multiple of decoder_heads",
        )
    view = context.views.get(options.views)
    if view is not None and (view.size // context.patch_size,) * 2 != tuple(context.grid):
        rows, columns = context.grid
        raise UserError(
            f"mae: views.{options.views} of {view.size} px do not fill the backbone's {rows} x {columns} patches",
            f"set views.{options.views}.size = {rows * context.patch_size}, or name another group in loss.views",
        )
