"""The corruptions of `sslcli eval robust`: what they do to a picture, by chance that is given."""

import numpy as np
import pytest
from sslcli_robust.blurs import disc, kernel, trail
from sslcli_robust.corruptions import CORRUPTIONS, chosen, corrupt
from sslcli_robust.digital import quality_of
from sslcli_robust.noise import gaussian_noise, impulse_noise, shot_noise
from sslcli_robust.weather import brightness, plasma

from sslcli.errors import UserError

GREY = np.full((224, 224, 3), 0.5)


def scene(side=48):
    """A picture of a gradient, a square and some texture, uint8."""
    rng = np.random.default_rng(0)
    picture = np.linspace(40, 160, side)[:, None, None] + rng.normal(0, 12, (side, side, 3))
    picture[side // 4 : side // 2, side // 3 : 2 * side // 3] = (220, 60, 40)
    return picture.clip(0, 255).astype(np.uint8)


def chance(seed=0):
    return np.random.default_rng(seed)


def error(picture, corrupted):
    """Mean absolute difference."""
    return np.abs(picture.astype(float) - corrupted.astype(float)).mean()


@pytest.mark.parametrize("side", [16, 33, 48])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_picture_is_as_large_and_another_one(name, side):
    picture = scene(side)
    corrupted = corrupt(picture, name, 5, chance())
    assert (corrupted.shape, corrupted.dtype) == (picture.shape, np.uint8)
    assert error(picture, corrupted) > 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_chance_gives_the_same_picture(name):
    first, second = (corrupt(scene(), name, 3, chance(7)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"elastic", "frost"}))
def test_the_worst_severity_is_further_from_the_picture_than_the_mildest(name):
    mild, worst = (
        np.mean([error(scene(), corrupt(scene(), name, severity, chance(n))) for n in range(4)]) for severity in (1, 5)
    )
    assert worst > mild


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_global_generator_is_left_alone(name):
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    corrupt(scene(), name, 2, chance())
    assert np.array_equal(before, np.random.get_state()[1])


def test_gaussian_noise_has_the_deviation_of_its_severity_at_224_pixels():
    assert gaussian_noise(GREY, 3, chance()).std() == pytest.approx(0.18, rel=0.01)


def test_noise_in_a_picture_of_a_quarter_of_the_side_is_half_as_strong():
    small = np.full((56, 56, 3), 0.5)
    assert gaussian_noise(small, 3, chance()).std() == pytest.approx(0.09, rel=0.02)
    assert shot_noise(small, 2, chance()).std() == pytest.approx(np.sqrt(0.5 / 25) / 2, rel=0.03)


def test_shot_noise_keeps_the_mean_and_has_a_poisson_deviation():
    noisy = shot_noise(GREY, 2, chance())
    assert noisy.mean() == pytest.approx(0.5, abs=0.002)
    assert noisy.std() == pytest.approx(np.sqrt(0.5 / 25), rel=0.01)


def test_impulse_noise_makes_its_share_of_values_black_or_white_half_each():
    noisy = impulse_noise(GREY, 5, chance())
    assert (noisy == 0).mean() == pytest.approx(0.135, abs=0.003)
    assert (noisy == 1).mean() == pytest.approx(0.135, abs=0.003)


@pytest.mark.parametrize("made", [kernel(disc(3.0)), kernel(disc(0.4)), kernel(*trail(6.0, 2.0, 30.0))])
def test_a_kernel_sums_to_one_and_is_square_and_odd(made):
    assert made.sum() == pytest.approx(1.0)
    assert made.shape[0] == made.shape[1]
    assert made.shape[0] % 2 == 1


def test_a_disc_weighs_alike_within_its_radius_and_nothing_beyond():
    made = kernel(disc(5.0))
    down, across = np.indices(made.shape) - made.shape[0] // 2
    away = np.hypot(down, across)
    assert made[away > 6.5].max() == 0
    assert made[away < 3.5].std() / made[away < 3.5].mean() < 0.1


def test_a_trail_lies_on_one_side_and_fades():
    made = kernel(*trail(6.0, 3.0, 0.0))
    middle = len(made) // 2
    assert made[middle, : middle - 1].sum() == 0
    assert made[middle, middle + 1] > made[middle, middle + 4] > made[middle, middle + 8] > 0


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "zoom_blur", "glass_blur", "elastic", "pixelate"])
def test_a_picture_of_one_colour_is_not_changed_by_what_moves_pixels(name):
    plain = np.full((40, 40, 3), 90, np.uint8)
    assert error(plain, corrupt(plain, name, 4, chance())) < 1


def test_brightness_adds_to_the_value_and_keeps_hue_and_saturation():
    colour = np.array([[[0.4, 0.2, 0.1]]])
    brighter = brightness(colour, 3, chance())
    assert brighter.max() == pytest.approx(0.7)
    assert brighter / brighter.max() == pytest.approx(colour / colour.max())


def test_black_becomes_grey_when_it_is_made_brighter():
    assert brightness(np.zeros((1, 1, 3)), 2, chance()) == pytest.approx(0.2)


def test_plasma_goes_from_0_to_1_and_is_smoother_where_it_is_asked_to_be():
    rough, smooth = plasma(64, 1.4, chance()), plasma(64, 3.0, chance())
    assert (rough.min(), rough.max()) == (0.0, 1.0)
    assert np.abs(np.diff(smooth)).mean() < np.abs(np.diff(rough)).mean()


def test_the_quality_of_a_jpeg_is_that_of_steps_times_the_scale():
    assert quality_of(25, 1.0) == 25
    assert quality_of(25, 0.5) == 50  # steps twice those of 50, halved
    assert quality_of(10, 0.1) == 75


def test_corruptions_are_chosen_by_name_once_and_in_order():
    assert chosen(["fog", "snow", "fog"]) == ["snow", "fog"]
    assert chosen([]) == list(CORRUPTIONS)
    with pytest.raises(UserError, match="no corruption is called 'fogg'") as caught:
        chosen(["fogg"])
    assert "fog" in caught.value.hint
