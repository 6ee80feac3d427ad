"""MixedAE's figure: where CLS and one patch look in the last block, and which keys the patch chooses in a mixed image.

The protocol is ours: whole images go through the backbone with ordinary attention, the mean over heads is shown; mixed
ones with homologous attention, as in pre-training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.nn import Backbone
from sslcli_mixedae.attention import HomologousAttention, homologous_mask

OWN, FOREIGN, QUERY = (0.2, 0.8, 0.3), (0.9, 0.2, 0.2), (1.0, 0.9, 0.1)  # red, green, blue


class Watching:
    """Ordinary attention that remembers the logits of the last block, for which `attend` is asked."""

    logits: Tensor

    def __call__(self, block: int, logits: Tensor) -> Tensor:
        """Every key is looked at."""
        self.logits = logits
        return torch.ones_like(logits, dtype=torch.bool)


class WatchingHomologous(HomologousAttention):
    """Homologous attention that remembers them."""

    logits: Tensor

    def __call__(self, block: int, logits: Tensor) -> Tensor:
        """The best keys are looked at."""
        self.logits = logits
        return super().__call__(block, logits)


@torch.no_grad()
def attention_maps(backbone: Backbone, images: Tensor, query: int) -> tuple[Tensor, Tensor]:
    """How CLS, and the patch `query`, share their attention among the patches: two of `[B, N]`, the mean over heads.

    Without CLS, the first is the mean over all patches.
    """
    watching, prefix = Watching(), backbone.prefix_tokens
    backbone.encode(backbone.embed(images), attend=watching)
    shares = watching.logits.softmax(dim=-1).mean(dim=1)[..., prefix:]  # [B, M, N]
    return shares[:, 0] if prefix else shares.mean(dim=1), shares[:, prefix + query]


@torch.no_grad()
def chosen_keys(backbone: Backbone, mixed: Tensor, labels: Tensor, query: int, segments: Tensor | None) -> Tensor:
    """How many of the heads choose each patch as a key of `query`, as a share of them: `[R, N]`, in the last block."""
    tokens = backbone.embed(mixed)
    if segments is not None:
        tokens = tokens + segments[labels]
    share, prefix = int((labels[0] == labels[0, 0]).sum()), backbone.prefix_tokens
    watching = WatchingHomologous(labels, share, prefix)
    backbone.encode(tokens, attend=watching)
    return homologous_mask(watching.logits, share, prefix)[:, :, prefix + query, prefix:].float().mean(dim=1)


@dataclass(frozen=True)
class Pictures:
    """What the figure shows: whole images `[B, 3, H, W]`, mixed ones `[R, 3, H, W]` and their labels `[R, N]`."""

    whole: Tensor
    mixed: Tensor
    labels: Tensor
    mean: tuple[float, float, float]  # with which the images were normalised
    std: tuple[float, float, float]


def attention_figure(backbone: Backbone, pictures: Pictures, query: int, segments: Tensor | None = None) -> Tensor:
    """The figure, uint8 `[height, width, 3]`: a row for each whole image, then one for each mixed image.

    Whole: the image with the query marked, attention of CLS, attention of the query. Mixed: the image, whose patch is
    whose (those of the query's source are light), the keys of the query: green of its own source, red of others.
    """
    grid = (pictures.whole.shape[-2] // backbone.patch_size, pictures.whole.shape[-1] // backbone.patch_size)
    whole, mixed = (shown(images, pictures) for images in (pictures.whole, pictures.mixed))
    own = pictures.labels == pictures.labels[:, query, None]  # [R, N]
    keys = chosen_keys(backbone, pictures.mixed, pictures.labels, query, segments)
    place = torch.arange(own.shape[1], device=own.device).eq(query).float()[None]
    rows = [
        [
            tinted(whole, place, QUERY, grid),
            *(heat(whole, m, grid) for m in attention_maps(backbone, pictures.whole, query)),
        ],
        [mixed, mixed * enlarged(0.25 + 0.75 * own, mixed, grid), coloured(mixed, keys, own, grid)],
    ]
    lines = [torch.cat(columns, dim=-1) for columns in rows]  # [B, 3, H, 3 W]
    return (torch.cat([line.permute(0, 2, 3, 1).flatten(0, 1) for line in lines]) * 255).round().to(torch.uint8)


def shown(images: Tensor, pictures: Pictures) -> Tensor:
    """Normalised images as colours from 0 to 1."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (pictures.mean, pictures.std))
    return (images * std + mean).clamp(0, 1)


def enlarged(values: Tensor, images: Tensor, grid: tuple[int, int]) -> Tensor:
    """A number of each patch `[B, N]` to all of its pixels, `[B, 1, H, W]`."""
    return torch.nn.functional.interpolate(values.float().reshape(-1, 1, *grid), size=images.shape[-2:])


def heat(images: Tensor, shares: Tensor, grid: tuple[int, int]) -> Tensor:
    """Images lit by shares of attention, the most at full brightness."""
    return images * enlarged(0.15 + 0.85 * shares / shares.amax(dim=-1, keepdim=True), images, grid)


def tinted(images: Tensor, shares: Tensor, colour: tuple[float, float, float], grid: tuple[int, int]) -> Tensor:
    """Images with a colour laid over them, by shares of the patches."""
    strength = 0.6 * enlarged(shares.expand(len(images), -1), images, grid)
    return images * (1 - strength) + torch.tensor(colour, device=images.device)[:, None, None] * strength


def coloured(images: Tensor, keys: Tensor, own: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mixed images with the chosen keys in green and red."""
    return tinted(tinted(images, keys * own, OWN, grid), keys * ~own, FOREIGN, grid)
