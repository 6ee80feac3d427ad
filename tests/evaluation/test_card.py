"""How pictures are shown, beside torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.evaluation.card import Card, normalise, show


def noise(width: int, height: int) -> Image.Image:
    """A picture of random pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_the_shorter_side_is_rounded_down_as_the_specification_says() -> None:
    assert (Card(32).resized, Card(224).resized, Card(32, crop_share=1.0).resized) == (36, 256, 32)


@pytest.mark.parametrize("width", [20, 47, 48, 90])
@pytest.mark.parametrize("height", [31, 48, 61])
def test_pixels_are_those_of_torchvision(width: int, height: int) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    modes = transforms.InterpolationMode
    card = Card(32)
    theirs = transforms.Compose([transforms.Resize(card.resized, modes.BICUBIC), transforms.CenterCrop(32)])
    picture = noise(width, height)
    assert np.array_equal(show(picture, card), np.asarray(theirs(picture)))


def test_normalised_colours_are_those_of_the_card() -> None:
    card = Card(2, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    images = normalise(torch.full((1, 2, 2, 3), 255, dtype=torch.uint8), card)
    assert images.shape == (1, 3, 2, 2)
    assert images[0, :, 0, 0].tolist() == [1.0, 3.0, 1.0]


def test_rows_and_columns_keep_their_places() -> None:
    pixels = torch.arange(2 * 2 * 3, dtype=torch.uint8).reshape(1, 2, 2, 3)
    images = normalise(pixels, Card(2, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)))
    assert (images * 255).round().int().tolist() == [[[[0, 3], [6, 9]], [[1, 4], [7, 10]], [[2, 5], [8, 11]]]]
