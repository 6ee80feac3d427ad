"""The worker's side: a picture is decoded once, all its crops are cut, and a micro-batch leaves as a few arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from sslcli.api import ViewShape
from sslcli.data.augmentation import Draw, MaskedViewAugmentation, ViewAugmentation
from sslcli.data.batch import Batch
from sslcli.data.draws import stack_draws, stream_generator, view_generator
from sslcli.data.kept import KeptPictures
from sslcli.data.masks import BrokenMask, Mask, Masks
from sslcli.data.pictures import BrokenPicture
from sslcli.data.sampler import Position
from sslcli.data.source import Source
from sslcli.errors import RunError, SslcliError

REPLACEMENTS = 100  # broken pictures in a row before giving up
COLUMN = "column."  # names of draws that are facts of the sample

MaskOf = Callable[[], Mask | None]  # the mask of the picture at hand, read when it is first wanted


class ViewReader(Dataset[Batch]):
    """Positions of samples to a Batch; used in the loader's workers, or in the main process without any."""

    def __init__(
        self,
        source: Source,
        views: Mapping[str, ViewAugmentation],
        shapes: Mapping[str, ViewShape],
        *,
        seed: int,
        masks: Masks | None = None,
        keep_megabytes: float = 0.0,
    ) -> None:
        self.pictures, self.seed, self.masks = KeptPictures(source, keep_megabytes), seed, masks
        self.groups = [GroupCutter(name, view, shapes[name], seed) for name, view in views.items()]

    def __getitems__(self, positions: Sequence[Position]) -> Batch | SslcliError:
        """One micro-batch; an error that is meant for the user travels as a value, without the worker's traceback."""
        try:
            return self.read(positions)
        except SslcliError as error:
            return error

    def read(self, positions: Sequence[Position]) -> Batch:
        """Decode, draw and cut all crops of some samples."""
        broken: dict[str, str] = {}
        broken_masks: dict[str, str] = {}
        shown = []
        cuts = [group.start(len(positions)) for group in self.groups]
        for place, (epoch, index) in enumerate(positions):
            image, instead = self.picture(epoch, index, broken)
            shown.append(instead)
            mask = cache(partial(self.mask, instead, image, broken_masks))
            for group, cut in zip(self.groups, cuts):
                group.fill(cut, place, image, mask, epoch, index)
        columns = {"index": torch.tensor(shown), "epoch": torch.tensor([epoch for epoch, _ in positions])}
        batch = collate(self.groups, cuts, columns)
        return replace(batch, broken=tuple(broken.items()), broken_masks=tuple(broken_masks.items()))

    def mask(self, index: int, image: Image.Image, broken: dict[str, str]) -> Mask | None:
        """The mask of a picture; None where there is none, or none that can be used."""
        if self.masks is None:
            return None
        try:
            return self.masks.mask(index, image.width, image.height)
        except BrokenMask as error:
            broken[error.path] = error.reason
            return None

    def picture(self, epoch: int, index: int, broken: dict[str, str]) -> tuple[Image.Image, int]:
        """The picture, or another one in its place if it is broken, and the number of the one that is shown."""
        substitutes = None
        for _ in range(REPLACEMENTS):
            try:
                return self.pictures.image(index), index
            except BrokenPicture as error:
                broken[error.path] = error.reason
            substitutes = substitutes or stream_generator(self.seed, "substitute", epoch, index)
            index = int(substitutes.integers(len(self.pictures)))
        path, reason = next(iter(broken.items()))
        raise RunError(f"{REPLACEMENTS} pictures in a row cannot be read, among them {path}: {reason}")


class Cut:
    """The crops `[crops, B, S, S, 3]` and the draws `[crops][B]` of one group while they are being filled."""

    def __init__(self, shape: ViewShape, batch: int) -> None:
        self.crops: NDArray[np.uint8] = np.empty((shape.crops, batch, shape.size, shape.size, 3), dtype=np.uint8)
        self.draws: list[list[Draw]] = [[] for _ in range(shape.crops)]


class GroupCutter:
    """Cuts the crops of one view group."""

    def __init__(self, name: str, view: ViewAugmentation, shape: ViewShape, seed: int) -> None:
        self.name, self.view, self.shape, self.seed = name, view, shape, seed

    def start(self, batch: int) -> Cut:
        """Room for the crops of a micro-batch."""
        return Cut(self.shape, batch)

    def fill(self, cut: Cut, place: int, image: Image.Image, mask: MaskOf, epoch: int, index: int) -> None:
        """All crops of one picture."""
        for crop in range(self.shape.crops):
            rng = view_generator(self.seed, epoch, index, self.name, crop)
            draw = self.view.draw(rng, height=image.height, width=image.width, crop=crop)
            cut.crops[crop, place] = cut_by(self.view, image, mask, draw)
            cut.draws[crop].append(draw)


def cut_by(view: ViewAugmentation, image: Image.Image, mask: MaskOf, draw: Draw) -> NDArray[np.uint8]:
    """One crop `[S, S, 3]`, with the picture's mask where the augmentation wants it and there is one."""
    if isinstance(view, MaskedViewAugmentation) and view.wants_mask(draw) and (found := mask()) is not None:
        return view.cut_with_mask(image, found, draw)
    return view.cut(image, draw)


def collate(groups: Sequence[GroupCutter], cuts: Sequence[Cut], columns: dict[str, Tensor]) -> Batch:
    """The groups' crops and draws as tensors; draws named `column.x` become the column `x`, as crop 0 has it."""
    crops, draws = {}, {}
    for group, cut in zip(groups, cuts):
        drawn = {name: torch.from_numpy(array) for name, array in stack_draws(cut.draws).items()}
        facts = {name.removeprefix(COLUMN): array[0] for name, array in drawn.items() if name.startswith(COLUMN)}
        refuse_twice(columns, facts, group.name)
        columns.update(facts)
        crops[group.name] = torch.from_numpy(cut.crops)
        draws[group.name] = {name: array for name, array in drawn.items() if not name.startswith(COLUMN)}
    return Batch(crops, draws, columns)


def refuse_twice(columns: Mapping[str, Any], facts: Mapping[str, Any], group: str) -> None:
    """Two groups must not say different things under one name."""
    for name in facts.keys() & columns.keys():
        raise RunError(f"views.{group} gives the column '{name}', which is there already")
