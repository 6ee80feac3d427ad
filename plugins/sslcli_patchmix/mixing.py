"""The mixing itself (arXiv:2306.12243), as pure functions.

    r(s)      the place of position s in a random order of the T patches of a picture
    j(s)      r(s) // floor(T / M); 0 for the T mod M last places
    mixed_i   shows at position s what image (i + j(s)) mod N has there

N images, a ring, share one order, so that every patch keeps its place and only the picture changes.
"""

import torch
from torch import Tensor


def draw_groups(numbers: Tensor, images: int) -> Tensor:
    """j(s) for M `images`, int64 `[..., T]`, by numbers `[..., T]` whose order is that of the patches."""
    places = numbers.argsort(dim=-1, stable=True).argsort(dim=-1)
    size = numbers.shape[-1] // images
    return torch.where(places < size * images, places // size, 0)


def mix_patches(pictures: Tensor, groups: Tensor, images: int, patch_size: int) -> Tensor:
    """Mixed pictures `[..., N, 3, H, W]` of the rings of `pictures`, by their `groups [..., T]`; T row by row."""
    rows, columns = (side // patch_size for side in pictures.shape[-2:])
    shown = groups.view(*groups.shape[:-1], rows, columns)[..., None, None, :, :]
    shown = shown.repeat_interleave(patch_size, -2).repeat_interleave(patch_size, -1)  # [..., 1, 1, H, W]
    mixed = pictures
    for group in range(1, images):
        mixed = torch.where(shown == group, pictures.roll(-group, dims=-4), mixed)
    return mixed


def ring_partners(batch: int, ring: int, images: int, device: torch.device) -> Tensor:
    """Which rows of a batch each mixed image is made of, int64 `[B, M]`: the next ones of its ring, itself first."""
    row = torch.arange(batch, device=device)[:, None]
    first = row - row % ring
    return first + (row - first + torch.arange(images, device=device)) % ring
