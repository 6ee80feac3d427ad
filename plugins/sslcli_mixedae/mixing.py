"""Compose mixing (MixedAE, arXiv:2303.17152): n images become one, each gives N / n of the N patches, in place.

labels = M in {0 .. n-1}^N, each number N / n times       drawn anew for every group and step
mixed[l] = patch l of image M[l] of the group
"""

from collections.abc import Mapping

from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import MixAugmentation, Uniform
from sslcli.errors import UserError
from sslcli_mixedae.options import ComposeOptions


class ComposeMixing(MixAugmentation):
    """Groups are consecutive images of the batch; the plan has `labels [crops, B / n, N]` and the `originals`.

    A group's draw belongs to its first sample, so it does not depend on the number of processes.
    """

    def __init__(self, options: ComposeOptions, context: Context) -> None:
        self.images = options.images
        self.patch_size = context.patch_size
        self.patches = (context.views[options.source].size // context.patch_size) ** 2
        if self.patches % self.images:
            raise UserError(
                f"mixedae.mix: {self.patches} patches cannot be shared equally by {self.images} images",
                "choose another number of images, or another size of pictures or patches",
            )

    def mix(self, images: Tensor, uniform: Uniform) -> tuple[Tensor, Mapping[str, Tensor]]:
        """`[crops, B, 3, H, W]` to `[crops, B / n, 3, H, W]`."""
        noise = uniform("order", len(images), self.patches)[:: self.images]  # [B / n, crops, N]
        labels = equal_shares(noise.transpose(0, 1), self.images)
        return compose(images, labels, self.patch_size), {"labels": labels, "originals": images}


def equal_shares(noise: Tensor, images: int) -> Tensor:
    """Whose patch stands at each place: numbers from 0 below `images`, equally often, by the order of `[..., N]`."""
    rank = noise.argsort(dim=-1, stable=True).argsort(dim=-1)
    return rank // (noise.shape[-1] // images)


def compose(images: Tensor, labels: Tensor, patch_size: int) -> Tensor:
    """Images `[C, G * n, 3, H, W]` to `[C, G, 3, H, W]`, each patch from the image that `labels [C, G, N]` names."""
    (crops, count), (channels, height, width) = labels.shape[:2], images.shape[2:]
    groups = images.reshape(crops, count, -1, channels, height, width)
    places = labels.reshape(crops, count, height // patch_size, width // patch_size)
    pixels = places.repeat_interleave(patch_size, dim=-1).repeat_interleave(patch_size, dim=-2)  # [C, G, H, W]
    chosen = pixels[:, :, None, None].expand(-1, -1, 1, channels, -1, -1)
    return groups.gather(2, chosen).squeeze(2)
