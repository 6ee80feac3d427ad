"""Features of the crops that losses read, computed when first asked for, as few forwards as the backbone allows."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from sslcli.api import ViewShape
from sslcli.errors import UserError
from sslcli.nn import Backbone, Features

Crop = tuple[str, int]  # view group, number of the crop


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

    Crops of one size go through the network together; with batch norm only those of one group, whose statistics must
    not mix with another's; each alone when `together` is false. The teacher's forward has no gradient.
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
    ) -> None:
        self.backbone = backbone
        self.crops = crops
        self.network = network
        self.images = images
        self.columns = columns
        self.together = together
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
        for bundle in bundles.values():
            features = self.encode(self.joined(bundle), len(bundle)).unflatten(len(bundle))
            for group in dict.fromkeys(group for group, _ in bundle):
                places = [place for place, (name, _) in enumerate(bundle) if name == group]
                parts.setdefault(group, []).append(features[places[0] : places[-1] + 1])
        self.encoded = {group: Features.cat(features) for group, features in parts.items()}

    def bundle_of(self, group: str, number: int) -> object:
        """Crops with the same key share a forward."""
        if not self.together:
            return group, number
        return group if self.backbone.mixes_batch else self.images[group].shape[-2:]

    def joined(self, bundle: list[Crop]) -> Tensor:
        """The images of a bundle, `[crops * B, 3, S, S]`; those of a whole group are not copied."""
        group = bundle[0][0]
        if bundle == [(group, number) for number in range(len(self.images[group]))]:
            return self.images[group].flatten(0, 1)
        return torch.cat([self.images[group][number] for group, number in bundle])

    def encode(self, images: Tensor, crops: int) -> Features:
        """One forward of images `[crops * B, 3, S, S]`: features with that leading axis."""
        with torch.set_grad_enabled(self.network == "student" and torch.is_grad_enabled()):
            if "tokens" not in self.backbone.abilities:
                return self.backbone.features(images)
            columns = {name: column.repeat(crops) for name, column in self.columns.items()}
            return self.backbone.encode(self.backbone.embed(images), columns=columns)
