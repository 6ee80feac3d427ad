"""How a picture is shown to a backbone that is judged: resized, cut from the middle, normalised. No chance in it."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """Side of the cut in pixels, its share of the resized picture's shorter side, mean and spread of the colours."""

    image_size: int
    crop_share: float = 0.875
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)

    @property
    def resized(self) -> int:
        """The shorter side of the resized picture: 36 for a cut of 32, 256 for one of 224, at a share of 224 / 256."""
        return int(self.image_size / self.crop_share + 1e-9)

    def document(self) -> dict[str, Any]:
        """The card as plain data."""
        return asdict(self)


def show(picture: Image.Image, card: Card) -> NDArray[np.uint8]:
    """The middle of a resized RGB picture, uint8 `[S, S, 3]`: the pixels of torchvision's Resize and CenterCrop."""
    short, long = sorted(picture.size)
    sides = {short: card.resized, long: int(card.resized * long / short)}
    width, height = (card.resized, card.resized) if short == long else (sides[picture.width], sides[picture.height])
    left, top = middle(width, card.image_size), middle(height, card.image_size)
    resized = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + card.image_size, top + card.image_size)))


def middle(side: int, cut: int) -> int:
    """Where a cut from the middle begins."""
    return round((side - cut) / 2)


def normalise(crops: Tensor, card: Card) -> Tensor:
    """Crops uint8 `[B, S, S, 3]` as images `[B, 3, S, S]` of zero mean and unit spread, by the card."""
    mean, std = (torch.tensor(colour, device=crops.device).view(1, 3, 1, 1) for colour in (card.mean, card.std))
    return (crops.permute(0, 3, 1, 2).float() / 255.0 - mean) / std
