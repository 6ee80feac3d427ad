"""The augmentation `patchmix`: a view group to its mixed group, and who is in it with which share."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.data.augmentation import MixAugmentation, Uniform
from sslcli.errors import UserError
from sslcli.nn import rank
from sslcli_patchmix.mix_options import PatchMixOptions
from sslcli_patchmix.mixing import draw_groups, mix_patches, ring_partners


class PatchMix(MixAugmentation):
    """Mixes each crop by an order of its own, all images of a ring by the same.

    A ring's chance is that of its first image, so it does not depend on the number of processes. The plan:

        patches [crops, B, T]   which of its images, from 0, a mixed image shows at each position
        rows    [crops, B, M]   these images, as rows among those of all processes
        shares  [crops, B, M]   how much of it each is, 1 / M; 1 for itself alone where nothing is mixed
    """

    def __init__(self, options: PatchMixOptions, context: Context) -> None:
        self.options = options
        self.patch_size = options.patch_size or context.patch_size
        check_patches(options, context, self.patch_size)
        check_ring(options, context.batch_size // context.world_size)

    def mix(self, images: Tensor, uniform: Uniform) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mixed images and the plan."""
        crops, batch, _, height, width = images.shape
        check_ring(self.options, batch)
        ring, count = self.options.ring or batch, self.options.images
        patches = (height // self.patch_size) * (width // self.patch_size)
        numbers = uniform("order", crops, patches)[::ring].transpose(0, 1)  # [crops, rings, T]
        mixing = uniform("coin", 1)[::ring] < self.options.probability  # [rings, 1]
        groups = draw_groups(numbers, count) * mixing
        rings = images.view(crops, -1, ring, *images.shape[2:])
        mixed = mix_patches(rings, groups, count, self.patch_size).flatten(1, 2)
        rows = ring_partners(batch, ring, count, images.device) + rank() * batch
        plan = {
            "patches": groups.repeat_interleave(ring, dim=1),
            "rows": rows.expand(crops, -1, -1),
            "shares": shares_of(mixing.repeat_interleave(ring, dim=0), count).expand(crops, -1, -1),
        }
        return mixed, plan


def shares_of(mixing: Tensor, images: int) -> Tensor:
    """How much of each image there is, `[B, M]`: the same of all where it is mixed `[B, 1]`, or all of the first."""
    alone = torch.arange(images, device=mixing.device) == 0
    return torch.where(mixing, 1.0 / images, alone.float())


def check_patches(options: PatchMixOptions, context: Context, patch_size: int) -> None:
    """The pictures are whole patches, and enough of them."""
    if not patch_size:
        raise UserError("patchmix: the backbone has no patches to mix by", "say their size: patch_size = 16")
    size = context.views[options.source].size
    if size % patch_size:
        raise UserError(
            f"patchmix: pictures of {size} pixels are not whole patches of {patch_size}",
            f"let patch_size divide views.{options.source}.size",
        )
    patches = (size // patch_size) ** 2
    if patches < options.images:
        raise UserError(
            f"patchmix: a picture of {patches} patches cannot show {options.images} images",
            "mix fewer images, by smaller patches, or in larger views",
        )


def check_ring(options: PatchMixOptions, batch: int) -> None:
    """A process has whole rings, and a ring so many images that no two mixed ones meet on both sides of it."""
    ring, least = options.ring or batch, 2 * options.images - 1
    if batch % ring:
        raise UserError(
            f"patchmix: a process has {batch} images at a time, which are not whole rings of {ring}",
            "let ring divide train.batch_size / processes / train.accumulation, or leave it out",
        )
    if options.images > 1 and ring < least:
        raise UserError(
            f"patchmix: {ring} images are too few to mix {options.images} of them: with fewer than {least}, two mixed "
            "images share pictures on both sides of the ring, and their targets say too little",
            f"raise {'ring' if options.ring else 'train.batch_size'}, or mix fewer images",
        )
