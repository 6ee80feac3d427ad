"""Where linear heads get their features from, epoch by epoch: a table that was made once, or pictures cropped anew."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from sslcli.data.crops import ResizedCrop
from sslcli.data.draws import view_generator
from sslcli.data.loader import in_order
from sslcli.data.pictures import BrokenPicture
from sslcli.data.settings import Cropping
from sslcli.data.source import Source
from sslcli.evaluation.card import Card, normalise
from sslcli.evaluation.features import Collate, Shown, judging

Fed = Iterator[tuple[Tensor, Tensor]]  # rows [B, F] and labels [B]


@dataclass(frozen=True)
class Order:
    """Batches of an epoch: a new order each time, the last ones left out where they fill no batch."""

    samples: int
    batch: int
    seed: int

    @classmethod
    def of(cls, samples: int, wanted: int, seed: int) -> "Order":
        """Batches of the wanted size, or one of all samples where there are fewer."""
        return cls(samples, min(wanted, samples), seed)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return self.samples // self.batch

    def batches(self, epoch: int) -> list[Tensor]:
        """Places among the samples, `[batch]` a step."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        places = torch.randperm(self.samples, generator=generator)
        return list(torch.split(places, self.batch))[: self.steps]


@dataclass(frozen=True)
class Kept:
    """Rows `[N, F]` that were made once, with labels `[N]`."""

    rows: Tensor
    labels: Tensor
    order: Order
    device: torch.device

    def epoch(self, number: int) -> Fed:
        """The batches of an epoch."""
        for places in self.order.batches(number):
            yield self.rows[places].to(self.device), self.labels[places].to(self.device)


@dataclass(frozen=True)
class Anew:
    """Rows of random crops, some of them turned round, by an encoder that runs in every epoch."""

    encoder: nn.Module
    source: Source
    card: Card
    positions: Tensor  # of the pictures in the source [N]
    labels: Tensor  # of them [N]
    shift: Tensor  # that is subtracted from the rows [F]
    crop: ResizedCrop
    order: Order
    device: torch.device

    def epoch(self, number: int) -> Fed:
        """The batches of an epoch; a picture that can no longer be read is left out."""
        batches = self.order.batches(number)
        crops = Crops(self.source, self.crop, self.order.seed, number, self.positions[torch.cat(batches)].tolist())
        labels = dict(zip(self.positions.tolist(), self.labels.tolist()))
        with judging(self.encoder, self.device):
            for shown, positions, _ in opened(crops, self.order.batch, self.card.image_size):
                if not len(positions):
                    continue
                rows = self.encoder(normalise(shown.to(self.device), self.card)).float().flatten(1)
                yield (
                    rows - self.shift.to(self.device),
                    torch.tensor([labels[p] for p in positions.tolist()]).to(self.device),
                )


def random_crop(size: int, fit: str) -> ResizedCrop:
    """The crop of linear protocols: of 8 % of the picture or more, bicubic, turned round half of the time."""
    return ResizedCrop(Cropping.model_validate({"size": size, "fit": fit}))


class Crops(Dataset[Shown]):
    """One drawn crop, uint8 `[S, S, 3]`, of each picture that is named, by seed, epoch and picture alone."""

    def __init__(self, source: Source, crop: ResizedCrop, seed: int, epoch: int, indices: list[int]) -> None:
        self.source, self.crop, self.seed, self.epoch, self.indices = source, crop, seed, epoch, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, NDArray[np.uint8] | BrokenPicture]:
        index = self.indices[place]
        try:
            picture = self.source.image(index)
        except BrokenPicture as broken:
            return index, broken
        rng = view_generator(self.seed, self.epoch, index, "linear", 0)
        numbers = rng.random(self.crop.numbers).tolist()
        return index, self.crop.cut(
            picture, self.crop.draw(numbers, height=picture.height, width=picture.width, crop=0)
        )


def opened(crops: Crops, batch: int, size: int) -> Iterator[tuple[Tensor, Tensor, list[BrokenPicture]]]:
    """Batches of crops, by as many workers as training would have."""
    return in_order(crops, batch, Collate(size))
