"""Every image of a mixed one, rebuilt from its own patches (MixedAE, arXiv:2303.17152).

encoded = backbone(mixed patches + segments[M])            R images, each of n sources
seen_i  = CLS and the tokens where M = i                   one sequence for each source, R * n again
loss    = mean squared error of image i where M != i       by the decoder and the target of MAE
"""

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.nn import Masking, Step, patchify, random_masking
from sslcli.nn.decoder import build_decoder
from sslcli.nn.rebuilding import pixel_error, rebuilding_error
from sslcli_mixedae.encoding import MixedEncoding, shared_encoder
from sslcli_mixedae.options import ReconstructionOptions


class MixedReconstruction(nn.Module):
    """The error of the patches that a source does not show, as in MAE."""

    def __init__(self, options: ReconstructionOptions, context: Context) -> None:
        super().__init__()
        self.encoder = shared_encoder(options, context)
        self.norm_pixels = options.norm_pixels
        self.patch_size = context.patch_size
        self.decoder = build_decoder(options, context, options.views)

    def forward(self, step: Step) -> Tensor:
        """A scalar; `pixel_error` is logged in squared units of the normalised image, whatever is rebuilt."""
        encoded: MixedEncoding = self.encoder(step)
        masking = unmixing(encoded.labels, self.encoder.images)
        seen = split_by_source(encoded.features.normed, masking.keep, encoded.features.prefix)
        predicted = self.decoder(seen, masking.restore)
        pixels = patchify(encoded.originals, self.patch_size)
        step.log("pixel_error", pixel_error(predicted.detach(), pixels, masking.mask, norm_pixels=self.norm_pixels))
        return rebuilding_error(predicted, pixels, masking.mask, norm_pixels=self.norm_pixels)


def unmixing(labels: Tensor, images: int) -> Masking:
    """What each source shows and hides, `[R * n, ...]`: it shows the places where the labels `[R, N]` name it."""
    sources = torch.arange(images, device=labels.device)
    hidden = labels[:, None] != sources[:, None]  # [R, n, N]
    return random_masking(hidden.flatten(0, 1).float(), labels.shape[1] // images)


def split_by_source(tokens: Tensor, keep: Tensor, prefix: int) -> Tensor:
    """Tokens `[R, prefix + N, D]` to `[R * n, prefix + K, D]`: the prefix and each source's `keep [R * n, K]`."""
    images = len(keep) // len(tokens)
    places = keep.reshape(len(tokens), -1)  # [R, n * K]
    patches = tokens[:, prefix:].gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
    first = tokens[:, :prefix].repeat_interleave(images, dim=0)
    return torch.cat([first, patches.reshape(len(keep), keep.shape[1], -1)], dim=1)
