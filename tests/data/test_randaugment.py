"""RandAugment on whole pictures."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from sslcli.data.draws import view_generator
from sslcli.data.randaugment import OPERATIONS, RandAugmentation
from sslcli.data.settings import INCREASING, RandAugment

BILINEAR = Image.Resampling.BILINEAR
FILL = (124, 116, 104)


@pytest.fixture
def picture() -> Image.Image:
    rows, columns = np.mgrid[:20, :30]
    return Image.fromarray(np.stack([rows * 9, columns * 6, (rows * columns) % 256], 2).astype(np.uint8))


def drawn(count: int = 2000, **options) -> np.ndarray:
    augment = RandAugmentation(RandAugment.model_validate(options))
    rngs = (view_generator(0, 0, index, "g", 0) for index in range(count))
    return np.stack([augment.draw(rng.random(augment.numbers).tolist(), 0)["rand_augment"] for rng in rngs])


def apply(name: str, picture: Image.Image, strength: float) -> Image.Image:
    return OPERATIONS[name](picture, strength, FILL, BILINEAR)


def test_the_operations_are_the_fifteen_that_grow_with_the_magnitude():
    assert tuple(OPERATIONS) == INCREASING
    assert len(INCREASING) == 15


@pytest.mark.parametrize("name", INCREASING)
@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.9, 1.0])
def test_every_operation_keeps_size_and_mode(picture, name, strength):
    changed = apply(name, picture, strength)
    assert (changed.size, changed.mode) == (picture.size, "RGB")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("posterise", lambda picture: ImageOps.posterize(picture, 1)),
        ("solarise", lambda picture: ImageOps.solarize(picture, 26)),
        ("contrast", lambda picture: ImageEnhance.Contrast(picture).enhance(1.81)),
        ("invert", ImageOps.invert),
        ("rotate", lambda picture: picture.rotate(27.0, BILINEAR, fillcolor=FILL)),
    ],
)
def test_at_magnitude_nine_an_operation_does_what_the_recipe_says(picture, name, expected):
    assert np.array_equal(np.asarray(apply(name, picture, 0.9)), np.asarray(expected(picture)))


def test_solarise_add_lightens_the_dark_half_by_99_at_magnitude_nine():
    levels = Image.fromarray(np.array([[[0, 100, 127], [128, 200, 255]]], dtype=np.uint8))
    assert np.asarray(apply("solarise_add", levels, 0.9)).tolist() == [[[99, 199, 226], [128, 200, 255]]]


def test_translation_moves_by_a_share_of_the_picture_and_fills_with_the_colour(picture):
    moved = np.asarray(apply("translate_x", picture, 1.0))  # 13.5 pixels to the left
    assert (moved[:, -13:] == FILL).all()
    moved = np.asarray(apply("translate_y", picture, -1.0))  # 9 pixels down
    assert (moved[:9] == FILL).all()
    assert np.array_equal(moved[9:], np.asarray(picture)[:11])


def test_operations_are_distinct_uniform_and_applied_half_of_the_time():
    rows = drawn(6000, apply=1.0)[:, :, 0]
    assert (rows[:, 0] != rows[:, 1]).all()
    counts = np.bincount(rows.astype(int).ravel(), minlength=15) / 6000
    assert np.allclose(counts, 2 / 15, atol=0.02)
    assert (drawn()[:, :, 0] >= 0).mean() == pytest.approx(0.5, abs=0.03)


def test_with_replacement_an_operation_may_come_twice():
    rows = drawn(apply=1.0, distinct=False)[:, :, 0]
    assert (rows[:, 0] == rows[:, 1]).mean() == pytest.approx(1 / 15, abs=0.02)


def test_magnitudes_are_normal_clipped_at_ten_and_of_either_sign():
    strengths = drawn(4000)[:, :, 1].ravel() * 10
    assert np.abs(strengths).max() == 10.0
    assert np.median(np.abs(strengths)) == pytest.approx(9.0, abs=0.03)
    assert (np.abs(strengths) == 10.0).mean() == pytest.approx(0.0228, abs=0.006)  # P(N(9, 0.5) > 10)
    assert (strengths > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_a_picture_that_is_not_drawn_stays_as_it_is(picture):
    augment = RandAugmentation(RandAugment(probability=(0.0,)))
    draw = augment.draw([0.1] * augment.numbers, 0)
    assert augment(picture, draw) is picture


def test_the_interpolation_is_drawn_or_fixed():
    assert drawn()[:, :, 2].mean() == pytest.approx(0.5, abs=0.03)
    assert (drawn(50, interpolation="bicubic")[:, :, 2] == 1).all()
