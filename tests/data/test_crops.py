"""Where crops are cut, and how."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import RandomResizedCrop

from sslcli.data.crops import ResizedCrop, middle
from sslcli.data.draws import view_generator
from sslcli.data.settings import Cropping

ratios = st.tuples(st.floats(0.1, 10.0), st.floats(0.1, 10.0)).map(sorted).map(tuple)
scales = st.tuples(st.floats(0.001, 1.0), st.floats(0.001, 1.0)).map(sorted).map(tuple)


def numbers_of(seed: int) -> list[float]:
    return np.random.default_rng(seed).random(ResizedCrop.numbers).tolist()


def gradient(height: int, width: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), scales, ratios, st.integers(0, 10**6))
def test_a_crop_lies_inside_the_picture_and_is_not_empty(height, width, scale, ratio, seed):
    crop = ResizedCrop(Cropping(size=8, scale=scale, ratio=ratio))
    left, top, right, bottom = crop.draw(numbers_of(seed), height=height, width=width, crop=0)["box"]
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_the_first_try_that_fits_is_the_area_and_shape_that_were_drawn():
    crop = ResizedCrop(Cropping(size=8, scale=(0.25, 0.25), ratio=(1.0, 1.0)))
    assert crop.box([0.5] * 20 + [0.0, 0.999], 100, 100) == (0, 50, 50, 100)


def test_a_try_that_does_not_fit_is_passed_over():
    crop = ResizedCrop(Cropping(size=8, scale=(0.2, 1.0), ratio=(1.0, 1.0)))
    too_large_first = [1.0, 0.5, 0.0, 0.5] + [0.5] * 16 + [0.0, 0.0]
    assert crop.box(too_large_first, 50, 200) == (0, 0, 45, 45)


@pytest.mark.parametrize(("height", "width"), [(10, 100), (100, 10), (50, 50), (1, 9)])
def test_the_middle_is_torchvisions_fallback(height, width):
    reference = RandomResizedCrop(8, scale=(5.0, 5.0), ratio=(3 / 4, 4 / 3))
    expected = reference.make_params([Image.new("RGB", (width, height))])
    left, top, right, bottom = middle(height, width, (3 / 4, 4 / 3))
    assert (top, left, bottom - top, right - left) == tuple(expected[k] for k in ("top", "left", "height", "width"))


def test_areas_and_shapes_are_distributed_as_torchvisions():
    crop, reference = ResizedCrop(Cropping(size=8)), RandomResizedCrop(8)
    picture = Image.new("RGB", (120, 80))
    ours = np.array([crop.box(numbers_of(seed), 80, 120) for seed in range(4000)])
    theirs = [reference.make_params([picture]) for _ in range(4000)]
    widths, heights = ours[:, 2] - ours[:, 0], ours[:, 3] - ours[:, 1]
    for mine, name in ((widths, "width"), (heights, "height"), (ours[:, 0], "left"), (ours[:, 1], "top")):
        expected = np.array([params[name] for params in theirs])
        assert np.allclose(np.quantile(mine, [0.1, 0.5, 0.9]), np.quantile(expected, [0.1, 0.5, 0.9]), atol=4.0)


def test_a_crop_is_flipped_when_its_coin_says_so():
    crop = ResizedCrop(Cropping(size=16))
    drawn = {"box": np.array([3, 4, 40, 30], dtype=np.int32), "flip": False}
    straight, flipped = (crop.cut(gradient(50, 60), {**drawn, "flip": flip}) for flip in (False, True))
    assert np.array_equal(straight[:, ::-1], flipped)
    assert not np.array_equal(straight, flipped)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("box", [(10, 10, 42, 42), (0, 0, 60, 50), (5, 7, 11, 10), (59, 49, 60, 50), (0, 0, 1, 50)])
def test_a_cut_is_pillows_crop_and_resize_to_one_level(interpolation, box):
    crop, picture = ResizedCrop(Cropping(size=16, interpolation=interpolation)), gradient(50, 60)
    ours = crop.cut(picture, {"box": np.array(box), "flip": False})
    theirs = np.asarray(picture.crop(box).resize((16, 16), Image.Resampling[interpolation.upper()]))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_pixels_are_those_of_the_picture_at_hand():
    crop, box = ResizedCrop(Cropping(size=4)), {"box": np.array([0, 0, 8, 8]), "flip": False}
    for level in (10, 200, 10):
        assert (crop.cut(Image.new("RGB", (8, 8), (level,) * 3), box) == level).all()


def test_flips_come_as_often_as_asked_for_each_crop():
    crop = ResizedCrop(Cropping(size=8, crops=2, flip=(0.2, 1.0)))
    drawn = [
        [
            crop.draw(view_generator(0, 0, i, "g", c).random(23).tolist(), height=9, width=9, crop=c)["flip"]
            for c in (0, 1)
        ]
        for i in range(2000)
    ]
    shares = np.mean(drawn, axis=0)
    assert shares[0] == pytest.approx(0.2, abs=0.03)
    assert shares[1] == 1.0
