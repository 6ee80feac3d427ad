"""Crops, jitter and blur as BYOL's released code does them, against its operations written out."""

import colorsys
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.data import colour
from sslcli.data.blur import GaussianBlur, blur_matrix
from sslcli.data.crops import ResizedCrop
from sslcli.data.draws import view_generator
from sslcli.data.jitter import ColourJitter
from sslcli.data.photometric import Photometric
from sslcli.data.settings import Blur, Cropping, Jitter, Photometry

VIEWS = {  # the two presets, A and B, as two crops of one group
    "jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1, "form": "deepmind"},
    "grey": 0.2,
    "blur": {"probability": [1.0, 0.1], "form": "deepmind"},
    "solarise": {"probability": [0.0, 0.2], "threshold": 127.5},
}


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 9, 9, generator=torch.Generator().manual_seed(0))


def scaled_by_colorsys(pixel: list[float], factor: float) -> tuple[float, ...]:
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
    return colorsys.hsv_to_rgb(hue, min(saturation * factor, 1.0), value)


def blurred_by_a_loop(row: list[float], sigma: float, reach: int) -> list[float]:
    """One row, the kernel of `2 reach + 1` taps normalised to one, black beyond the edges."""
    taps = {offset: math.exp(-(offset**2) / (2 * sigma**2)) for offset in range(-reach, reach + 1)}
    padded = [0.0] * reach + row + [0.0] * reach
    return [
        sum(padded[place + reach + offset] * weight for offset, weight in taps.items()) / sum(taps.values())
        for place in range(len(row))
    ]


def test_brightness_is_added_and_clamped():
    image = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    assert torch.allclose(colour.shift_brightness(image, torch.tensor([0.3])).flatten(), torch.tensor([0.5, 0.8, 1.0]))


def test_contrast_is_taken_from_the_mean_of_each_channel(images):
    factor = torch.linspace(0.6, 1.4, 6)
    mean = images.mean((2, 3), keepdim=True)
    expected = (mean + (images - mean) * factor.view(-1, 1, 1, 1)).clamp(0, 1)
    assert torch.allclose(colour.scale_channel_contrast(images, factor), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [0.0, 0.8, 1.0, 1.2, 30.0])
def test_saturation_is_that_of_hsv(images, factor):
    images[0, :, 0, 0], images[0, :, 0, 1] = 0.4, 0.0  # a grey and a black pixel
    shown = colour.scale_hsv_saturation(images, torch.full((6,), factor)).permute(0, 2, 3, 1).reshape(-1, 3)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).tolist()
    assert torch.allclose(shown, torch.tensor([scaled_by_colorsys(p, factor) for p in pixels]), atol=1e-5)


def test_jitter_does_the_four_in_the_drawn_order_and_clamps_each_time(images):
    jitter = ColourJitter(Jitter(form="deepmind", probability=(1.0,)))
    factors, order = torch.tensor([[0.35, 1.3, 0.8, 0.07]] * 6), torch.tensor([[2, 0, 3, 1]] * 6)
    shown = jitter(images, {"jittered": torch.ones(6, dtype=torch.bool), "jitter": factors, "jitter_order": order})
    expected = colour.scale_hsv_saturation(images, factors[:, 2])
    expected = colour.shift_hue(colour.shift_brightness(expected, factors[:, 0]), factors[:, 3])
    assert torch.equal(shown, colour.scale_channel_contrast(expected, factors[:, 1]))


def test_what_is_added_to_the_brightness_is_drawn_around_zero():
    jitter = ColourJitter(Jitter(form="deepmind", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1))
    rng = np.random.default_rng(0)
    drawn = np.array([jitter.draw(rng.random(ColourJitter.numbers).tolist(), 0)["jitter"] for _ in range(4000)])
    assert np.allclose(drawn.min(axis=0), [-0.4, 0.6, 0.8, -0.1], atol=0.01)
    assert np.allclose(drawn.max(axis=0), [0.4, 1.4, 1.2, 0.1], atol=0.01)


@pytest.mark.parametrize(("size", "taps"), [(224, 23), (96, 9), (40, 5), (32, 3), (19, 1)])
def test_the_kernel_has_a_tenth_of_the_side_and_sums_to_one(size, taps):
    rows = blur_matrix(torch.tensor([2.0]), size, size // 20, reflect=False)[0]
    assert int((rows[size // 2] > 0).sum()) == taps
    assert rows[size // 2].sum().item() == pytest.approx(1.0, abs=1e-6)


def test_blur_is_the_loop_over_taps_with_black_beyond_the_edges():
    images = torch.rand(2, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.4, 1.9])
    shown = GaussianBlur(Blur(form="deepmind"))(images, {"blur": sigma})
    for number in range(2):
        across = [blurred_by_a_loop(row, float(sigma[number]), 3) for row in images[number, 0].tolist()]
        down = zip(*[blurred_by_a_loop(list(column), float(sigma[number]), 3) for column in zip(*across)])
        assert torch.allclose(shown[number, 0], torch.tensor(list(down)), atol=1e-5)


def test_values_from_one_half_on_are_inverted_and_grey_weighs_the_channels():
    half = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1)
    assert torch.allclose(colour.solarise(half, 127.5 / 255).flatten(), torch.tensor([0.2, 0.5, 0.1]))
    assert colour.luma(torch.tensor([0.5, 0.25, 1.0]).view(1, 3, 1, 1)).item() == pytest.approx(0.4102, abs=1e-6)
    assert colour.luma(torch.ones(1, 3, 1, 1)).item() == pytest.approx(0.9999, abs=1e-6)


def test_each_view_has_its_operations_as_often_as_its_preset_says():
    photometric = Photometric(Photometry.model_validate(VIEWS, context={"crops": 2}), 224, Context())
    for crop, (blurred, solarised) in enumerate([(1.0, 0.0), (0.1, 0.2)]):
        rngs = (view_generator(0, 0, index, "global", crop) for index in range(20_000))
        drawn = [photometric.draw(rng.random(Photometric.numbers).tolist(), crop) for rng in rngs]
        shares = {
            name: np.mean([draw[name] > 0 for draw in drawn]) for name in ("jittered", "grey", "blur", "solarise")
        }
        expected = {"jittered": 0.8, "grey": 0.2, "blur": blurred, "solarise": solarised}
        assert shares == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (400, 40), (7, 300), (1, 1)])
def test_a_crop_that_does_not_fit_is_cut_to_fit_and_never_drawn_again(width, height):
    crop = ResizedCrop(Cropping(size=8, scale=(0.08, 1.0), fit="clip"))
    for seed in range(200):
        numbers = np.random.default_rng(seed).random(ResizedCrop.numbers).tolist()
        left, top, right, bottom = crop.draw(numbers, height=height, width=width, crop=0)["box"]
        area, ratio = height * width * (0.08 + 0.92 * numbers[0]), (3 / 4) ** (1 - 2 * numbers[1])
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        assert (right - left, bottom - top) == (min(max(across, 1), width), min(max(down, 1), height))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
