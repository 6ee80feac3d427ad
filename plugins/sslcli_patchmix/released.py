"""The sizes that were released, how to read them off tensors, and the recipe that trains a network of each size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any

from torch import Tensor

from sslcli.errors import UserError

AXES = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.norm1.weight": 1}
HEADS = {192: 3, 384: 12, 768: 12}  # of attention, by width: no tensor tells them, and DeiT's ViT-S has 6


@dataclass(frozen=True)
class Shape:
    """What makes a ViT, besides its numbers."""

    width: int
    depth: int
    heads: int
    patch_size: int
    image_size: int

    def said(self) -> str:
        """The shape in words."""
        return (
            f"{self.depth} blocks of width {self.width} with {self.heads} heads, "
            f"patches of {self.patch_size} pixels in images of {self.image_size}"
        )


RELEASED: Mapping[Shape, str] = {  # recipes; {} is cifar10 or cifar100, which no tensor tells
    Shape(192, 12, 3, 2, 32): "patchmix/vit_tiny-{}",
    Shape(384, 12, 12, 2, 32): "patchmix/vit_small-{}",
    Shape(768, 12, 12, 2, 32): "patchmix/vit_base-{}",
    Shape(384, 12, 12, 16, 224): "patchmix/vit_small-imagenet",
    Shape(768, 12, 12, 16, 224): "patchmix/vit_base-imagenet",
}


def shape_of(backbone: Mapping[str, Tensor], heads: int | None) -> Shape:
    """The shape of a backbone. Raises UserError when it cannot be read off."""
    lacking = [name for name, axes in AXES.items() if name not in backbone or backbone[name].dim() != axes]
    if lacking:
        raise UserError(
            f"the sizes of the network cannot be read off: {', '.join(lacking)} is missing or of another form",
            "is the file whole, and one of PatchMix?",
        )
    width, patches = backbone["cls_token"].shape[-1], backbone["pos_embed"].shape[1] - 1
    side, patch_size = isqrt(max(patches, 0)), backbone["patch_embed.proj.weight"].shape[-1]
    if not side or side * side != patches:
        raise UserError(
            f"pos_embed has {patches + 1} rows: without that of CLS they are no square grid of patches",
            "PatchMix's backbones have one row for CLS and one for each patch",
        )
    depth = len({name.split(".")[1] for name in backbone if name.startswith("blocks.")})
    return Shape(width, depth, heads_of(width, heads), patch_size, side * patch_size)


def heads_of(width: int, given: int | None) -> int:
    """How many heads share a width; those of a released width are known, and no others are taken."""
    known = HEADS.get(width)
    if known and given not in (None, known):
        raise UserError(
            f"PatchMix's networks of width {width} have {known} heads of attention, not {given}",
            "weights fit whatever is said, and their features would be wrong: leave heads out",
        )
    if not known and not given:
        raise UserError(
            f"no network of width {width} was released, so the number of attention heads cannot be told",
            "say it: --set heads=N",
        )
    return known or given or 0


def recipe_of(shape: Shape, data: str, *, teacher: bool) -> tuple[dict[str, Any], str]:
    """The recipe of a network of this shape, and in words how it comes by it; another size has that of `tiny`."""
    judged = {"evaluation": {"pool": "cls"}, "teacher": {"export": teacher}}
    if shape in RELEASED:
        base = RELEASED[shape].format(data)
        return {"schema": 1, "extends": base, "name": base.replace("/", "-"), **judged}, f"recipe: {base}"
    sizes = {"backbone": asdict(shape), "views": {"global": {"size": shape.image_size}}}
    name = f"patchmix-vit-{shape.width}x{shape.depth}"
    return (
        {"schema": 1, "extends": "patchmix/tiny", "name": name, **sizes, **judged},
        "no recipe has this size: the run's own is patchmix/tiny with its sizes",
    )
