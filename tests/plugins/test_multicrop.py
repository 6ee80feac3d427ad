"""The multi-crop augmentation as a recipe uses it."""

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sslcli_multicrop import sslcli_augmentations
from sslcli_multicrop.augmentation import Multicrop
from sslcli_multicrop.options import MulticropOptions

from sslcli.api import Context
from sslcli.data.draws import stack_draws, view_generator

ALL = {"jitter": 0.8, "grey": 0.2, "blur": [1.0, 0.1], "solarise": [0.0, 0.2], "erase": 0.5, "rand_augment": 0.5}
DRAWN_BEFORE = {
    "box": [59, 0, 357, 373],
    "flip": False,
    "jittered": True,
    "jitter": [0.7534294724464417, 1.3418610095977783, 1.0262101888656616, 0.09343742579221725],
    "jitter_order": [0, 1, 2, 3],
    "grey": False,
    "blur": 1.4924675073751728,
    "solarise": False,
    "erase": [4, 2, 5, 13],
    "erase_key": 2607429226,
    "rand_augment": [[8.0, -0.8138564906212336, 1.0], [5.0, 0.9535501234266164, 0.0]],
}


def multicrop(**table) -> Multicrop:
    return Multicrop(MulticropOptions.model_validate({"size": 16, **table}), Context())


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def drawn(view: Multicrop, crop: int, count: int) -> list[dict]:
    rngs = (view_generator(0, 0, index, "global", crop) for index in range(count))
    return [view.draw(rng, height=40, width=50, crop=crop) for rng in rngs]


def test_the_hook_offers_it():
    offer, _ = sslcli_augmentations()
    assert (offer.name, offer.options, offer.mixes) == ("multicrop", MulticropOptions, False)


def test_the_draws_of_a_key_are_those_of_earlier_versions():
    view = multicrop(crops=2, **ALL)
    draw = view.draw(view_generator(3, 1, 106, "global", 1), height=375, width=500, crop=1)
    assert {name: np.asarray(value).tolist() for name, value in draw.items()} == DRAWN_BEFORE


def test_without_options_there_is_a_resized_crop_and_a_flip():
    draw = drawn(multicrop(), 0, 1)[0]
    assert set(draw) == {"box", "flip"}


def test_every_draw_has_the_same_names_types_and_shapes():
    draws = drawn(multicrop(crops=2, **ALL), 1, 50)
    kinds = {tuple((name, type(value), np.shape(value)) for name, value in draw.items()) for draw in draws}
    assert len(kinds) == 1


def test_each_crop_has_its_own_probabilities():
    view = multicrop(crops=2, **ALL)
    first, second = drawn(view, 0, 500), drawn(view, 1, 500)
    assert np.mean([draw["blur"] > 0 for draw in first]) == 1.0
    assert np.mean([draw["blur"] > 0 for draw in second]) == pytest.approx(0.1, abs=0.05)
    assert not any(draw["solarise"] for draw in first)


def test_a_list_of_probabilities_of_the_wrong_length_is_refused_by_name():
    with pytest.raises(ValidationError, match="3 probabilities for 2 crops") as caught:
        MulticropOptions.model_validate({"crops": 2, "size": 16, "solarise": {"probability": [0.1, 0.2, 0.3]}})
    assert caught.value.errors()[0]["loc"] == ("solarise",)


def test_a_picture_becomes_finite_normalised_views(picture):
    view = multicrop(crops=2, **ALL)
    draws = drawn(view, 0, 12)
    crops = torch.from_numpy(np.stack([view.cut(picture, draw) for draw in draws]))
    stacked = {name: torch.from_numpy(array[0]) for name, array in stack_draws([draws]).items()}
    images = view.finish(crops, stacked)
    assert images.shape == (12, 3, 16, 16)
    assert images.dtype == torch.float32
    assert images.isfinite().all()


def test_cutting_leaves_the_picture_as_it_was(picture):
    view, before = multicrop(**ALL | {"blur": 0.5, "solarise": 0.1}), np.asarray(picture).copy()
    for draw in drawn(view, 0, 20):
        view.cut(picture, draw)
    assert np.array_equal(np.asarray(picture), before)


def test_rand_augment_comes_before_the_crop(picture):
    view = multicrop(rand_augment={"names": ["invert", "auto_contrast"], "apply": 1.0}, scale=[1.0, 1.0])
    draw = drawn(view, 0, 1)[0]
    expected = view.crop.cut(view.pipeline.rand_augment(picture, draw), draw)
    assert np.array_equal(view.cut(picture, draw), expected)
    assert not np.array_equal(view.crop.cut(picture, draw), expected)


def test_switching_an_operation_on_leaves_the_crops_where_they_were():
    plain, full = drawn(multicrop(), 0, 20), drawn(multicrop(**ALL | {"blur": 0.5, "solarise": 0.1}), 0, 20)
    assert all(np.array_equal(a["box"], b["box"]) and a["flip"] == b["flip"] for a, b in zip(plain, full))
