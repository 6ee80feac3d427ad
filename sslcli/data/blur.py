"""Gaussian blur with a sigma of its own for each sample, as two matrix products.

A row of pixels is blurred by one matrix `[S, S]` whose band holds the kernel, with the reflection at the edges folded
in: batched products do the whole batch, on any device, whatever the sigmas. On the CPU only the blocks around the band
are multiplied.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from sslcli.data.augmentation import Draw
from sslcli.data.draws import between
from sslcli.data.selected import where_drawn
from sslcli.data.settings import Blur, chance_of

REACH = 6.0  # of the full kernel, in sigmas: what lies further away weighs less than a float can tell beside 1
BYOL_REACH = 20  # BYOL's kernel reaches this part of the image's side, rounded down, to each side of its middle
BLOCK = 48  # output rows of one product on the CPU


class GaussianBlur:
    """Blur as the options say."""

    numbers = 2  # that `draw` uses: the coin and the sigma

    def __init__(self, settings: Blur) -> None:
        self.settings = settings

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`blur`, the standard deviation in pixels, 0 for none."""
        sigma = between(numbers[1], *self.settings.sigma)
        return {"blur": sigma if numbers[0] < chance_of(self.settings.probability, crop) else 0.0}

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Blurred images `[B, 3, S, S]`."""
        if self.settings.form == "deepmind":
            operation = partial(blur, reach=images.shape[-1] // BYOL_REACH, reflect=False)
        else:
            operation = partial(blur, reach=math.ceil(REACH * self.settings.sigma[1]))
        return where_drawn(draws["blur"] > 0.0, operation, images, draws["blur"])


def blur(images: Tensor, sigma: Tensor, reach: int, *, reflect: bool = True) -> Tensor:
    """Square images `[B, 3, S, S]` blurred by `sigma [B]` pixels, the kernel cut off `reach` pixels from its middle.

    Over the edges the picture is reflected (the edge pixel not doubled), or else black.
    """
    size = images.shape[-1]
    weights = blur_matrix(sigma, size, reach, reflect=reflect)
    parts = blocks(size, reach, BLOCK if images.device.type == "cpu" else size)
    across, down = torch.empty_like(images), torch.empty_like(images)
    for rows, columns in parts:
        band = weights[:, rows, columns].mT  # [B, columns, rows]
        across.flatten(1, 2)[..., rows] = images.flatten(1, 2)[..., columns] @ band
    for rows, columns in parts:
        down[:, :, rows] = weights[:, None, rows, columns] @ across[:, :, columns]
    return down


def blocks(size: int, reach: int, block: int) -> list[tuple[slice, slice]]:
    """Blocks of rows of the matrix, and the columns outside of which they are zero."""
    starts = range(0, size, block)
    return [(slice(s, min(s + block, size)), slice(max(s - reach, 0), min(s + block + reach, size))) for s in starts]


def blur_matrix(sigma: Tensor, size: int, reach: int, *, reflect: bool = True) -> Tensor:
    """What each pixel of a row takes from each other, `[B, S, S]`. A sigma of 0 gives the identity.

    Rows sum to 1; without reflection, to less near the edges, where the kernel reaches into black.
    """
    reach = min(reach, size - 1)  # a picture is reflected once only
    distance = torch.arange(1 - size, size, device=sigma.device)
    kernel = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None]) ** 2) * (distance.abs() <= reach)
    kernel = kernel / kernel.sum(1, keepdim=True)  # [B, 2S - 1]
    weights = kernel.unfold(1, size, 1).flip(1)
    if not reflect:
        return weights
    steps = torch.arange(reach + 1, device=sigma.device)
    around = steps[:, None] + steps[None, 1:]  # from pixel i over the edge to what lies at j
    corner = kernel[:, (around + size - 1).clamp(max=2 * size - 2)] * (around <= reach)
    weights[:, : reach + 1, 1 : reach + 1] += corner
    weights[:, size - 1 - reach :, size - 1 - reach : size - 1] += corner.flip(1, 2)
    return weights
