"""MAE (arXiv:2111.06377): encode the patches that are seen, rebuild the pixels of the others."""

from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Step, kept_patches, patchify, random_masking
from sslcli.nn.decoder import build_decoder
from sslcli.nn.rebuilding import pixel_error, rebuilding_error
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
        self.decoder = build_decoder(options, context, options.views)

    def forward(self, step: Step) -> Tensor:
        """A scalar; `pixel_error` is logged in squared units of the normalised image, whatever is rebuilt."""
        images = step.images(self.views)
        tokens = step.backbone.embed(images.flatten(0, 1))  # [crops * B, N, D]
        noise = step.uniform("mask", len(images), tokens.shape[1])  # [B, crops, N]
        masking = random_masking(noise.transpose(0, 1).flatten(0, 1), self.keep)
        seen = step.backbone.encode(tokens, keep=masking.keep, columns=step.facts_of(self.views)).normed
        predicted = self.decoder(seen, masking.restore)
        pixels = patchify(images.flatten(0, 1), self.patch_size)
        step.log("pixel_error", pixel_error(predicted.detach(), pixels, masking.mask, norm_pixels=self.norm_pixels))
        return rebuilding_error(predicted, pixels, masking.mask, norm_pixels=self.norm_pixels)


def check(options: MaskedAutoencoderOptions, context: Context) -> None:
    """Refuse what cannot be masked."""
    patches = context.grid[0] * context.grid[1]
    if not 0 < kept_patches(patches, options.mask_ratio) < patches:
        raise UserError(
            f"mae: a mask ratio of {options.mask_ratio} leaves none or all of {patches} patches to see",
            "choose another loss.mask_ratio, or smaller patches",
        )
