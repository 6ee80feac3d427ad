"""The homologous contrast (MixedAE, arXiv:2303.17152): are a patch's likes the patches of its own source?

    p(m | l) = exp(cos(z_l, z_m) / tau) / sum over k != l of exp(cos(z_l, z_k) / tau)      within one mixed image
    loss     = mean over l of the mean over m != l with M[m] = M[l] of -log p(m | l)

Its floor is log(K - 1), with K patches of a source: the excess over it is logged.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Step, in_full_precision
from sslcli_mixedae.encoding import MixedEncoding, shared_encoder
from sslcli_mixedae.options import ContrastOptions


class HomologousContrast(nn.Module):
    """The contrast between patch tokens after the last norm; CLS takes no part, and there is no projector."""

    def __init__(self, options: ContrastOptions, context: Context) -> None:
        super().__init__()
        self.encoder = shared_encoder(options, context)
        self.temperature = options.temperature
        self.share = context.grid[0] * context.grid[1] // self.encoder.images
        if self.share < 2:
            raise UserError(
                f"mixedae.homologous_contrast: {self.encoder.images} images leave a mixed one no two patches of each",
                "mix fewer images, or choose smaller patches",
            )

    def forward(self, step: Step) -> Tensor:
        """A scalar; `excess` is how far it is above the least that it can be."""
        encoded: MixedEncoding = self.encoder(step)
        cost = homologous_contrast(encoded.features.patches, encoded.labels, self.temperature).mean()
        step.log("excess", cost - math.log(self.share - 1))
        return cost


@in_full_precision
def homologous_contrast(tokens: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The cost `[R, N]` of each patch as an anchor, for tokens `[R, N, D]` and labels `[R, N]`.

    The mean over positives stands outside the logarithm, as in supervised contrast (arXiv:2004.11362).
    """
    unit = functional.normalize(tokens, dim=-1)
    itself = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
    logits = (unit @ unit.transpose(1, 2) / temperature).masked_fill(itself, -math.inf)
    positive = (labels[:, :, None] == labels[:, None, :]) & ~itself
    log_shares = logits.log_softmax(dim=-1).masked_fill(~positive, 0.0)
    return -log_shares.sum(dim=-1) / positive.sum(dim=-1)
