"""RandAugment's operations, on whole pictures and on parts of them."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.auto_augment import LEVEL_TO_ARG, NAME_TO_OP

from sslcli.data.operations import BICUBIC, BILINEAR, OPERATIONS, Drawn
from sslcli.data.randaugment import RandAugmentation
from sslcli.data.settings import INCREASING, RandAugment

FILL = (124, 116, 104)
COLOURS = ("AutoContrast", "Equalize", "Invert")
BITS = ("PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd")
ENHANCEMENTS = ("ColorIncreasing", "ContrastIncreasing", "BrightnessIncreasing", "SharpnessIncreasing")
MOVES = ("ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
TIMM = dict(zip(INCREASING, (*COLOURS, "Rotate", *BITS, *ENHANCEMENTS, *MOVES)))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def smooth(width: int, height: int) -> Image.Image:
    return noise(max(width // 8, 1), max(height // 8, 1)).resize((width, height), BICUBIC)


def arguments(name: str, magnitude: float) -> tuple:
    """timm's argument of an operation at a magnitude, its positive side where the sign is drawn."""
    level = LEVEL_TO_ARG[TIMM[name]]
    if level is None:
        return ()
    random.seed(0)
    return max(level(magnitude, {"translate_pct": 0.45}) for _ in range(30))


@pytest.mark.parametrize("magnitude", [0.0, 2.6, 5.1, 8.3, 9.4])
@pytest.mark.parametrize("name", INCREASING)
def test_an_operation_does_what_timm_does_at_every_magnitude(name, magnitude):
    picture = smooth(50, 40)
    drawn = {"fillcolor": FILL, "resample": BICUBIC} if TIMM[name] in ("Rotate", *MOVES) else {}
    theirs = NAME_TO_OP[TIMM[name]](picture, *arguments(name, magnitude), **drawn)
    ours = OPERATIONS[name](picture, magnitude / 10.0, FILL, BICUBIC)
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.002


@pytest.mark.parametrize("name", ["saturation", "contrast", "brightness", "sharpness"])
def test_the_other_sign_of_an_enhancement_takes_away(name):
    theirs = NAME_TO_OP[TIMM[name]](smooth(30, 20), 1.0 - 0.9 * 0.9)
    assert np.array_equal(np.asarray(OPERATIONS[name](smooth(30, 20), -0.9, FILL, BILINEAR)), np.asarray(theirs))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_part_is_to_the_bit_what_it_is_in_the_whole_picture(data):
    width, height = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    step = st.tuples(
        st.sampled_from(list(OPERATIONS.values())), st.floats(-1.0, 1.0), st.sampled_from([BILINEAR, BICUBIC])
    )
    steps = data.draw(st.lists(step, min_size=1, max_size=3))
    picture = whole = noise(width, height, seed=width)
    for operation, strength, resampling in steps:
        whole = operation(whole, strength, FILL, resampling)
    part = RandAugmentation(RandAugment()).part(picture, steps, box)
    assert np.array_equal(np.asarray(part), np.asarray(whole.crop(box)))


@pytest.mark.parametrize("name", ["rotate", "shear_x", "translate_y", "sharpness", "invert"])
def test_a_part_asks_for_little_more_than_itself(name):
    asked = []
    picture = noise(400, 300)

    def fetch(box):
        asked.append(box)
        return picture.crop(box)

    OPERATIONS[name].part(fetch, (180, 130, 220, 170), Drawn(0.9, picture.size, FILL, BICUBIC))
    ((left, top, right, bottom),) = asked
    assert (right - left) * (bottom - top) < 4 * 40 * 40


def test_a_part_that_comes_from_outside_is_filled_without_looking():
    part = OPERATIONS["translate_x"].part(None, (90, 0, 100, 10), Drawn(1.0, (100, 50), FILL, BILINEAR))
    assert (np.asarray(part) == FILL).all()
