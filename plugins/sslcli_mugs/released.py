"""The sizes that were released, how to read them off tensors, and the recipe that trains a network of each size."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isqrt
from typing import Any

from torch import Tensor

from sslcli.errors import UserError

HEAD_WIDTH = 64  # channels of an attention head, in all released sizes


@dataclass(frozen=True)
class Shape:
    """What makes a ViT, besides its numbers."""

    width: int
    depth: int
    heads: int
    patch_size: int = 16
    image_size: int = 224
    mlp_ratio: float = 4.0

    def said(self) -> str:
        """The shape in words."""
        known = f"{RELEASED[self].name}, " if self in RELEASED else ""
        return (
            f"{known}{self.depth} blocks of width {self.width} with {self.heads} head{'s' * (self.heads > 1)}, "
            f"patches of {self.patch_size} pixels in images of {self.image_size}"
        )


@dataclass(frozen=True)
class Released:
    """A size that the authors released: its name, and the recipe of each length of training."""

    name: str
    recipe: str  # with {epochs} for the length
    lengths: tuple[int, ...]  # epochs


RELEASED: Mapping[Shape, Released] = {
    Shape(384, 12, 6): Released("ViT-S/16", "mugs/vit_small-imagenet-{epochs}ep", (100, 300, 800)),
    Shape(768, 12, 12): Released("ViT-B/16", "mugs/vit_base-imagenet-{epochs}ep", (400,)),
    Shape(1024, 24, 16): Released("ViT-L/16", "mugs/vit_large-imagenet-{epochs}ep", (250,)),
}


def image_of(backbone: Mapping[str, Tensor]) -> tuple[int, int]:
    """Sides of a patch and of an image in pixels, by the patch convolution and the table of positions."""
    dimensions = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2}
    wrong = [
        f"{name} is {list(backbone[name].shape)}" for name, axes in dimensions.items() if backbone[name].dim() != axes
    ]
    if wrong:
        raise UserError(f"the sizes of the network cannot be read off: {'; '.join(wrong)}", "is this a file of Mugs?")
    patch, patches = backbone["patch_embed.proj.weight"].shape[-1], backbone["pos_embed"].shape[1] - 1
    side = isqrt(max(patches, 0))
    if side * side != patches or not patches:
        raise UserError(
            f"pos_embed has {patches + 1} rows: without that of CLS they are no square grid of patches",
            "Mugs' backbones have one row for CLS and one for each patch",
        )
    return patch, side * patch


def shape_of(backbone: Mapping[str, Tensor], image: tuple[int, int], heads: int | None) -> Shape:
    """The shape of a backbone; heads cannot be read off, so they are given, or a 64th of the width."""
    width = backbone["cls_token"].shape[-1]
    blocks = {name.split(".")[1] for name in backbone if name.startswith("blocks.")}
    hidden = backbone["blocks.0.mlp.fc1.weight"].shape[0]
    patch_size, image_size = image
    return Shape(width, len(blocks), heads_of(width, heads), patch_size, image_size, hidden / width)


def heads_of(width: int, given: int | None) -> int:
    """How many heads share a width."""
    if given is None and width % HEAD_WIDTH:
        raise UserError(
            f"the width of {width} is no multiple of {HEAD_WIDTH}, so the number of attention heads cannot be told",
            "say it: --set heads=N",
        )
    heads = given or width // HEAD_WIDTH
    if width % heads:
        raise UserError(f"{heads} heads do not divide a width of {width}", "set heads to a divisor of the width")
    return heads


def recipe_of(shape: Shape, epochs: int | None, *, teacher: bool) -> tuple[dict[str, Any], str]:
    """The recipe of a network of this shape, and in words how it comes by it.

    That of the released size with as many epochs, or else its first, as it stands: its schedules fit its own length.
    Another shape has a recipe of its own.
    """
    own = {"schema": 1, "evaluation": {"pool": "cls"}, "teacher": {"export": teacher}}
    length = f"-{epochs}ep" if epochs else ""
    released = RELEASED.get(shape)
    if released is None:
        name = f"mugs-vit-{shape.width}x{shape.depth}{length}"
        said = "no recipe has this size: the run's own has the three losses with their defaults"
        return joined(of_other_size(shape, epochs), own | {"name": name}), said
    known = epochs in released.lengths
    base = released.recipe.format(epochs=epochs if known else released.lengths[0])
    name = base.replace("/", "-").partition("-imagenet")[0] + length
    other = f", which is for another length than {epochs} epochs" if epochs and not known else ""
    return {"extends": base, "name": name, **own}, f"recipe: {base}{other}"


def of_other_size(shape: Shape, epochs: int | None) -> dict[str, Any]:
    """A recipe of Mugs for a size that was not released: one size of crops, everything else at its default."""
    crops = {"augmentation": "multicrop", "crops": 2, "size": shape.image_size, "scale": [0.25, 1.0]}
    length = float(epochs or 100)
    return {
        "data": {"train": "hf:ILSVRC/imagenet-1k"},
        "backbone": {"name": "vit", **asdict(shape), "position_resize": "dino", "init": "dino"},
        "views": {"global": crops},
        "loss": [{"name": f"mugs.{granularity}"} for granularity in ("instance", "local_group", "group")],
        "teacher": {"momentum": {"start": 0.996, "end": 1.0}},
        "optimizer": {"name": "adamw", "lr": 8e-4, "warmup_epochs": min(10.0, length)},
        "train": {"epochs": length, "batch_size": 512, "total": "mean"},
    }


def joined(document: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with tables joined to it."""
    tables = {key: {**document.get(key, {}), **table} for key, table in changes.items() if isinstance(table, dict)}
    return {**document, **changes, **tables}
