"""`saliency_crop`: crops of a picture that has lost its background, as RELICv2 cuts some of its large ones."""

import numpy as np
import pytest
import torch
from PIL import Image
from sslcli_multicrop.augmentation import Multicrop
from sslcli_multicrop.options import MulticropOptions
from sslcli_saliency.augmentation import SaliencyCrop
from sslcli_saliency.options import SaliencyCropOptions

from sslcli.api import Context, ViewShape
from sslcli.data.draws import stack_draws, view_generator
from sslcli.data.masks import BrokenMask
from sslcli.data.views import ViewReader
from sslcli.errors import UserError
from sslcli.recipe import recipe_from_document
from sslcli.testing.recipes import tiny_document

COLOURS = {"jitter": 0.8, "grey": 0.2, "blur": [1.0, 0.1, 1.0, 0.1], "solarise": [0.0, 0.2, 0.0, 0.2]}
LEFT = np.tile(np.arange(8) < 4, (8, 1))  # a mask whose left half is the object


def view(**options) -> SaliencyCrop:
    return SaliencyCrop(SaliencyCropOptions.model_validate({"crops": 4, "size": 16, **options}), Context())


def draws(case: SaliencyCrop, count: int = 400) -> list[list[dict]]:
    """Draws `[crops][count]`."""
    return [
        [
            case.draw(view_generator(0, 0, index, "global", crop), height=40, width=40, crop=crop)
            for index in range(count)
        ]
        for crop in range(4)
    ]


class Pictures:
    """White pictures."""

    def __len__(self) -> int:
        return 8

    def image(self, index: int) -> Image.Image:
        return Image.new("RGB", (40, 40), (255, 255, 255))


class Masks:
    """The left half is the object; picture 3 has no mask, and that of picture 5 is broken."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def mask(self, index: int, width: int, height: int) -> np.ndarray | None:
        self.read.append(index)
        if index == 5:
            raise BrokenMask("5.png", "cut short")
        return None if index == 3 else LEFT


def reader(masks: Masks | None, **options) -> ViewReader:
    whole = {"crops": 2, "size": 16, "scale": [1.0, 1.0], "ratio": [1.0, 1.0], "flip": 0.0, **options}
    case = SaliencyCrop(SaliencyCropOptions.model_validate(whole), Context())
    return ViewReader(Pictures(), {"global": case}, {"global": ViewShape(2, 16)}, seed=0, masks=masks)


def test_each_crop_loses_its_background_as_often_as_asked_and_by_a_coin_of_its_own():
    masked = np.array([[draw["masked"] for draw in crop] for crop in draws(view(), 8000)])
    assert np.allclose(masked.mean(axis=1), 0.1, atol=0.012)
    assert np.abs(np.corrcoef(masked) - np.eye(4)).max() < 0.04


def test_each_crop_may_have_a_probability_of_its_own():
    masked = np.array(
        [[draw["masked"] for draw in crop] for crop in draws(view(mask_probability=[0.0, 1.0, 0.0, 1.0]))]
    )
    assert masked.mean(axis=1).tolist() == [0.0, 1.0, 0.0, 1.0]


def test_without_masks_it_is_multicrop_to_the_bit():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    ours = view(mask_probability=0.0, **COLOURS)
    theirs = Multicrop(MulticropOptions.model_validate({"crops": 4, "size": 16, **COLOURS}), Context())
    for crop in range(4):
        pairs = [
            (case, case.draw(view_generator(0, 1, 2, "global", crop), height=40, width=50, crop=crop))
            for case in (ours, theirs)
        ]
        images = [
            case.finish(
                torch.from_numpy(case.cut(picture, draw))[None],
                {name: torch.from_numpy(array[0]) for name, array in stack_draws([[draw]]).items()},
            )
            for case, draw in pairs
        ]
        assert torch.equal(*images)


def test_the_background_goes_from_the_whole_picture_before_it_is_cropped():
    picture = Image.fromarray(np.random.default_rng(0).integers(1, 256, (40, 40, 3), dtype=np.uint8))
    case = view(flip=0.0)
    for draw in draws(case, 4)[0]:
        pixels = np.asarray(picture).copy()
        pixels[:, 20:] = 0
        expected = case.cut(Image.fromarray(pixels), draw)
        assert np.array_equal(case.cut_with_mask(picture, LEFT, draw), expected)


@pytest.mark.parametrize(("background", "level"), [("black", (0, 0, 0)), ("mean", (124, 116, 104))])
def test_the_background_becomes_black_or_the_mean_colour(background, level):
    case = view(background=background, scale=[1.0, 1.0], ratio=[1.0, 1.0], flip=0.0)
    crop = case.cut_with_mask(Image.new("RGB", (40, 40), (255, 255, 255)), LEFT, draws(case, 1)[0][0])
    assert (crop[:, :6] == 255).all()
    assert (crop[:, 10:] == level).all()


def test_a_grey_background_has_a_level_drawn_for_each_crop():
    case = view(background="grey")
    levels = [case.colour(draw)[0] for crop in draws(case) for draw in crop]
    assert (min(levels), max(levels)) == (0, 255)
    assert abs(np.mean(levels) - 127.5) < 6


def test_the_loader_reads_a_mask_once_a_picture_and_only_where_a_crop_wants_it():
    masks = Masks()
    reader(masks, mask_probability=1.0).read([(0, index) for index in (0, 1, 2)])
    assert masks.read == [0, 1, 2]
    reader(masks, mask_probability=0.0).read([(0, 0)])
    assert masks.read == [0, 1, 2]


def test_a_picture_without_a_mask_or_with_a_broken_one_is_shown_whole_and_the_broken_one_is_told():
    batch = reader(Masks(), mask_probability=1.0).read([(0, index) for index in range(8)])
    dark = (batch.crops["global"] == 0).flatten(2).any(dim=2)
    assert dark.all(dim=0).tolist() == [index not in (3, 5) for index in range(8)]
    assert batch.broken_masks == (("5.png", "cut short"),)
    assert len(batch.columns["index"]) == 8


def test_a_recipe_that_wants_masks_and_names_none_is_refused_with_the_command_that_makes_them():
    views = {"global": {"augmentation": "saliency_crop", "crops": 2, "size": 16}}
    with pytest.raises(UserError, match=r"views.global looks at masks, and data.masks names none") as caught:
        recipe_from_document(tiny_document("demo", views=views), origin="here")
    assert "sslcli saliency compute" in str(caught.value.message + caught.value.hint)


def test_with_a_probability_of_zero_no_masks_are_asked_for():
    views = {"global": {"augmentation": "saliency_crop", "crops": 2, "size": 16, "mask_probability": 0.0}}
    assert recipe_from_document(tiny_document("demo", views=views), origin="here").data.masks == ""
