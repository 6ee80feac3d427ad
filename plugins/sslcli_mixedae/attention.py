"""Homologous attention (MixedAE, arXiv:2303.17152): each patch looks only at the patches that it resembles most.

    logits = q k^T / sqrt(d)                       of each head and block
    keys of a patch = the K patch keys of highest logit, and the prefix tokens
    keys of a prefix token = all

K is an image's share of a mixed one, so a patch can look at all patches of its own image and at no other. Nothing says
which these are: that is what it must learn. There are no parameters: without it the network is an ordinary ViT.
"""

import torch
from torch import Tensor


def homologous_mask(logits: Tensor, keys: int, prefix: int) -> Tensor:
    """True where a query may look, of the shape of the logits `[..., M, M]`: exactly `keys` patches, also in ties."""
    best = logits[..., prefix:, prefix:].topk(keys, dim=-1, sorted=False).indices
    mask = torch.ones_like(logits, dtype=torch.bool)
    mask[..., prefix:, prefix:] = False
    mask[..., prefix:, prefix:].scatter_(-1, best, True)
    return mask


def sampling_accuracy(mask: Tensor, labels: Tensor, prefix: int) -> Tensor:
    """The share of the patch keys in `mask [B, heads, M, M]` whose label `[B, N]` is that of the query; a scalar."""
    chosen = mask[..., prefix:, prefix:]
    same = labels[:, None, :, None] == labels[:, None, None, :]
    return (chosen & same).count_nonzero() / chosen.count_nonzero()


class HomologousAttention:
    """What a backbone asks in every block: `attend(block, logits) -> mask`. It notes how often the choice was right."""

    def __init__(self, labels: Tensor, keys: int, prefix: int) -> None:
        self.labels = labels  # [B, N], only for the note
        self.keys = keys
        self.prefix = prefix
        self.accuracies: dict[int, Tensor] = {}  # by block

    def __call__(self, block: int, logits: Tensor) -> Tensor:
        """The mask of one block."""
        mask = homologous_mask(logits, self.keys, self.prefix)
        self.accuracies[block] = sampling_accuracy(mask, self.labels, self.prefix)
        return mask

    @property
    def accuracy(self) -> Tensor:
        """The mean over blocks; by chance it is the share of one image."""
        return torch.stack(list(self.accuracies.values())).mean()
