"""Features of pictures by a frozen encoder: 32 bits, evaluation mode, no gradient, nothing left to chance."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from sslcli.data.loader import in_order
from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.evaluation.card import Card, normalise, show
from sslcli.nn.modes import in_evaluation
from sslcli.words import counted

BATCH = 256
SILENCE = 10.0  # seconds between two lines of talk
Note = Callable[[str], None]
Shown = tuple[int, NDArray[np.uint8] | BrokenPicture]  # where it stands, and the crop
Crops = tuple[
    Tensor, Tensor, list[BrokenPicture]
]  # uint8 [B, S, S, 3], where they stand [B], and what could not be read


@dataclass(frozen=True)
class Table:
    """Features `[M, D]` of the pictures that could be read, where these stand in the source `[M]`, and the others."""

    features: Tensor
    positions: Tensor
    broken: tuple[tuple[str, str], ...] = ()  # (path, reason)


def extract(
    encoder: nn.Module,
    source: Source,
    card: Card,
    *,
    indices: Sequence[int] | None = None,
    device: torch.device | None = None,
    batch_size: int = BATCH,
    workers: int | Literal["auto"] = "auto",
    note: Note = lambda line: None,
) -> Table:
    """Features of the pictures of a source, or of some of them, on the CPU.

    `encoder` maps normalised images `[B, 3, S, S]` to `[B, D]`; it is left in the mode and on the device it came in.
    """
    shown = Pictures(source, card, range(len(source)) if indices is None else indices)
    batches = told(load(shown, batch_size, workers), f"of {counted(len(shown), 'picture')} of {source.spec}", note)
    return encode(encoder, batches, card, device=device)


def told(batches: Iterator[Crops], words: str, note: Note) -> Iterator[Crops]:
    """The same batches, with a line now and then on how many pictures are through."""
    began, spoken, done = time.monotonic(), time.monotonic(), 0
    for batch in batches:
        yield batch
        done += len(batch[0])
        if time.monotonic() - spoken > SILENCE:
            spoken = time.monotonic()
            note(f"features of {done} {words}, {done / (spoken - began):.0f} a second")
    note(f"features {words} in {time.monotonic() - began:.1f} s")


def encode(encoder: nn.Module, batches: Iterator[Crops], card: Card, *, device: torch.device | None = None) -> Table:
    """Features of crops."""
    device = device or best_device()
    rows, places, broken = [torch.empty(0, 0)], [torch.empty(0, dtype=torch.int64)], []
    with judging(encoder, device):
        for crops, positions, failed in batches:
            broken += [(failure.path, failure.reason) for failure in failed]
            if len(crops):
                rows.append(encoder(normalise(crops.to(device, non_blocking=True), card)).float().cpu())
                places.append(positions)
    return Table(torch.cat(rows[1:] or rows), torch.cat(places), tuple(broken))


@contextmanager
def judging(encoder: nn.Module, device: torch.device) -> Iterator[None]:
    """The encoder on the device, in evaluation mode and in full precision; afterwards everything is as it was."""
    homes = {tensor.device for tensor in (*encoder.parameters(), *encoder.buffers())}
    try:
        encoder.to(device)
        with in_evaluation(encoder), torch.no_grad(), torch.autocast(device.type, enabled=False), exact_convolutions():
            yield
    finally:
        if homes:
            encoder.to(homes.pop())


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Convolutions and products of NVIDIA GPUs in 32 bits, not in the 19 of TF32."""
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions


def best_device() -> torch.device:
    """A GPU where there is one."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


class Pictures(Dataset[Shown]):
    """Pictures of a source as uint8 crops; what cannot be read comes as the reason."""

    def __init__(self, source: Source, card: Card, indices: Sequence[int]) -> None:
        self.source = source
        self.card = card
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Shown:
        index = int(self.indices[number])
        try:
            return index, show(self.source.image(index), self.card)
        except BrokenPicture as broken:
            return index, broken


def load(shown: Pictures, batch_size: int, workers: int | Literal["auto"] = "auto") -> Iterator[Crops]:
    """Batches of crops, in order, made by as many workers as training would have."""
    return in_order(shown, batch_size, Collate(shown.card.image_size), workers=workers)


@dataclass(frozen=True)
class Collate:
    """Crops of one size as a batch, the broken ones apart."""

    size: int

    def __call__(self, shown: Sequence[Shown]) -> Crops:
        good = [(index, crop) for index, crop in shown if not isinstance(crop, BrokenPicture)]
        failed = [crop for _, crop in shown if isinstance(crop, BrokenPicture)]
        crops = np.stack([crop for _, crop in good]) if good else np.empty((0, self.size, self.size, 3), np.uint8)
        return torch.from_numpy(crops), torch.tensor([index for index, _ in good], dtype=torch.int64), failed
