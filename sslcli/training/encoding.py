"""Features of the crops that losses read, computed when first asked for, as few forwards as the backbone allows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from sslcli.api import ViewShape
from sslcli.errors import UserError
from sslcli.nn import Backbone, Features

Crop = tuple[str, int]  # view group, number of the crop
Packing = Literal["auto", "on", "off"]
PACKED_DEVICES = ("cuda",)  # where auto packs: not on a CPU, as measured; on a GPU, which nobody has measured yet


def crops_read(views: Iterable[Iterable[str]], shapes: Mapping[str, ViewShape]) -> tuple[Crop, ...]:
    """Every crop that the reads of all losses name, group by group, each once."""
    wanted: set[Crop] = set()
    for view in (view for read in views for view in read):
        group, _, crop = view.partition(":")
        wanted |= {(group, int(crop))} if crop else {(group, number) for number in range(shapes[group].crops)}
    order = list(shapes)
    return tuple(sorted(wanted, key=lambda crop: (order.index(crop[0]), crop[1])))


class Encoding:
    """Features by view name for one network (`student` or `teacher`) and one step.

    Crops of one size go through the network together, and all sizes too, packed, where `packing` says so and the
    backbone can; with batch norm only crops of one group, whose statistics must not mix with another's; each crop alone
    when `together` is false. The teacher's forward has no gradient.
    """

    def __init__(
        self,
        backbone: Backbone,
        crops: tuple[Crop, ...],
        network: str,
        *,
        images: Mapping[str, Tensor],
        columns: Mapping[str, Tensor],
        together: bool = True,
        packing: Packing = "auto",
    ) -> None:
        self.backbone = backbone
        self.crops = crops
        self.network = network
        self.images = images
        self.columns = columns
        self.together = together
        self.packing = packing
        self.encoded: dict[str, Features] = {}  # group -> features of its crops that are read, [crops, B, ...]

    def __call__(self, view: str) -> Features:
        group, _, crop = view.partition(":")
        numbers = [number for name, number in self.crops if name == group]
        whole = numbers == list(range(len(self.images.get(group, ()))))
        if not (int(crop) in numbers if crop else numbers and whole):
            raise UserError(
                f"a loss asks for the {self.network}'s features of {view!r}, which no loss reads",
                f"name {view!r} in the Reads that the loss's options return",
            )
        if group not in self.encoded:
            self.encode_all()
        return self.encoded[group][numbers.index(int(crop))] if crop else self.encoded[group]

    def encode_all(self) -> None:
        """Encode every crop that is read, bundle by bundle."""
        bundles: dict[object, list[Crop]] = {}
        for group, number in self.crops:
            bundles.setdefault(self.bundle_of(group, number), []).append((group, number))
        parts: dict[str, list[Features]] = {}
        for bundle, encoded in zip(bundles.values(), self.encode_bundles(list(bundles.values()))):
            features = encoded.unflatten(len(bundle))
            for group in dict.fromkeys(group for group, _ in bundle):
                places = [place for place, (name, _) in enumerate(bundle) if name == group]
                parts.setdefault(group, []).append(features[places[0] : places[-1] + 1])
        self.encoded = {group: Features.cat(features) for group, features in parts.items()}

    def bundle_of(self, group: str, number: int) -> object:
        """Crops with the same key share a forward."""
        if not self.together:
            return group, number
        images = self.images[group]  # [crops, B, 3, S, S], B smaller where several samples became one image
        return group if self.backbone.mixes_batch else (images.shape[1], images.shape[-2:])

    def joined(self, bundle: list[Crop]) -> Tensor:
        """The images of a bundle, `[crops * B, 3, S, S]`; those of a whole group are not copied."""
        group = bundle[0][0]
        if bundle == [(group, number) for number in range(len(self.images[group]))]:
            return self.images[group].flatten(0, 1)
        return torch.cat([self.images[group][number] for group, number in bundle])

    def encode_bundles(self, bundles: Sequence[list[Crop]]) -> list[Features]:
        """Features of every bundle, `[crops * B, ...]`: in one forward, or in one for each."""
        with torch.set_grad_enabled(self.network == "student" and torch.is_grad_enabled()):
            if len(bundles) > 1 and self.packs():
                sizes = [self.backbone.embed(self.joined(bundle)) for bundle in bundles]
                return self.backbone.encode_together(sizes, columns=[self.told(bundle) for bundle in bundles])
            return [self.encode(bundle) for bundle in bundles]

    def packs(self) -> bool:
        """Whether bundles share a forward: wanted, possible, and no harm to the statistics of a batch norm."""
        device = next(iter(self.images.values())).device.type
        wanted = device in PACKED_DEVICES if self.packing == "auto" else self.packing == "on"
        return wanted and self.together and self.backbone.packs and not self.backbone.mixes_batch

    def encode(self, bundle: list[Crop]) -> Features:
        """One forward of a bundle: features with the leading axis `[crops * B]`."""
        return features_of(self.backbone, self.joined(bundle), self.told(bundle))

    def told(self, bundle: list[Crop]) -> dict[str, Tensor]:
        """The facts of each image of a bundle, `[crops * B]`; none where an image is mixed of several samples."""
        if self.images[bundle[0][0]].shape[1] != len(next(iter(self.columns.values()))):
            return {}
        return {name: column.repeat(len(bundle)) for name, column in self.columns.items()}


def features_of(backbone: Backbone, images: Tensor, columns: Mapping[str, Tensor]) -> Features:
    """Features of images `[B, 3, H, W]`, the facts of their samples told to a backbone that listens."""
    if "tokens" not in backbone.abilities:
        return backbone.features(images)
    return backbone.encode(backbone.embed(images), columns=columns)
