"""Weak and strong views by a coin, as a recipe uses them."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sslcli_multicrop import sslcli_augmentations
from sslcli_multicrop.augmentation import Multicrop
from sslcli_multicrop.options import MulticropOptions, WeakStrongOptions
from sslcli_multicrop.weak_strong import WeakStrong

from sslcli.api import Context, ViewShape
from sslcli.data.draws import stack_draws, view_generator
from sslcli.data.operations import OPERATIONS
from sslcli.data.views import ViewReader
from sslcli.recipe.loading import recipe_from_document
from sslcli.recipe.words import validate

DOCS = Path(__file__).parents[2] / "docs" / "augmentation.md"
WEAK = {"jitter": 0.8, "grey": 0.2, "blur": 0.5, "solarise": 0.2}
ERASE = {"probability": 1.0, "area": [0.02, 0.333], "ratio": [0.3, 3.33], "before_normalise": True}
STRONG = {"rand_augment": 1.0, "erase": ERASE}
BOTH = {"crops": 2, "weak": WEAK, "strong": STRONG}
PAIR = {**BOTH, "coin": "sample", "column": "weak"}


def weak_strong(**table) -> WeakStrong:
    return WeakStrong(WeakStrongOptions.model_validate({"size": 16, **table}), Context())


def multicrop(**table) -> Multicrop:
    return Multicrop(MulticropOptions.model_validate({"size": 16, **table}), Context())


def drawn(view: WeakStrong | Multicrop, crop: int, count: int) -> list[dict]:
    rngs = (view_generator(0, 0, index, "global", crop) for index in range(count))
    return [view.draw(rng, height=40, width=50, crop=crop) for rng in rngs]


def coins(view: WeakStrong, crop: int, count: int) -> np.ndarray:
    return np.array([draw["strong"] for draw in drawn(view, crop, count)])


def tensors(draws: list[dict]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array[0]) for name, array in stack_draws([draws]).items()}


def same(first: dict, second: dict, *, but: tuple[str, ...] = ()) -> bool:
    return all(np.array_equal(first[name], second[name]) for name in first if name not in but)


def mistakes(**table) -> dict[str, str]:
    _, said = validate(WeakStrongOptions, {"size": 16, **table})
    return {".".join(map(str, path)): f"{message} {hint}" for path, message, hint in said}


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_hook_offers_it():
    _, offer = sslcli_augmentations()
    assert (offer.name, offer.options, offer.mixes) == ("weak_strong", WeakStrongOptions, False)


def test_without_options_crops_are_only_cut_and_have_a_coin_of_their_own():
    options = WeakStrongOptions(size=16)
    assert (options.coin, options.strong_share, options.column) == ("crop", 0.5, "")
    assert set(drawn(weak_strong(), 0, 1)[0]) == {"box", "flip", "strong"}


@pytest.mark.parametrize("table", [BOTH, PAIR])
def test_every_draw_has_the_same_names_types_and_shapes(table):
    draws = [draw for crop in (0, 1) for draw in drawn(weak_strong(**table), crop, 50)]
    kinds = {tuple((name, type(value), np.shape(value)) for name, value in draw.items()) for draw in draws}
    assert len(kinds) == 1


def test_the_crops_of_a_pair_are_strong_together_half_of_the_time():
    first, second = (coins(weak_strong(**PAIR), crop, 5000) for crop in (0, 1))
    assert np.array_equal(first, second)
    assert first.mean() == pytest.approx(0.5, abs=0.02)


def test_the_column_says_where_a_pair_is_weak():
    draws = drawn(weak_strong(**PAIR), 0, 50)
    assert all(draw["column.weak"] == (not draw["strong"]) for draw in draws)
    assert not any(name.startswith("column.") for name in drawn(weak_strong(**{**PAIR, "column": ""}), 0, 1)[0])


def test_crops_with_coins_of_their_own_are_strong_independently_of_each_other():
    view = weak_strong(**BOTH | {"crops": 10})
    thrown = np.stack([coins(view, crop, 1000) for crop in range(10)])
    assert thrown.mean() == pytest.approx(0.5, abs=0.02)
    correlations = np.corrcoef(thrown)[np.triu_indices(10, 1)]
    assert np.abs(correlations).max() < 0.13  # four deviations of 1 / sqrt(1000)
    assert abs(correlations.mean()) < 0.02


@pytest.mark.parametrize("coin", ["crop", "sample"])
def test_a_share_of_zero_is_never_strong_and_of_one_always(coin):
    assert not coins(weak_strong(**BOTH, coin=coin, strong_share=0.0), 1, 500).any()
    assert coins(weak_strong(**BOTH, coin=coin, strong_share=1.0), 1, 500).all()


@pytest.mark.parametrize("change", [{"strong_share": 0.9}, {"coin": "sample"}])
def test_another_share_or_coin_changes_nothing_but_who_is_strong(change):
    before, after = (drawn(weak_strong(**BOTH | other), 1, 50) for other in ({}, change))
    assert all(same(a, b, but=("strong",)) for a, b in zip(before, after))
    assert any(a["strong"] != b["strong"] for a, b in zip(before, after))


@pytest.mark.parametrize("coin", ["crop", "sample"])
def test_a_larger_share_makes_more_crops_strong_and_none_weak(coin):
    few, many = (coins(weak_strong(**BOTH, coin=coin, strong_share=share), 0, 300) for share in (0.3, 0.6))
    assert (many >= few).all()
    assert many.sum() > few.sum()


def test_what_one_pipeline_does_leaves_the_draws_of_the_other():
    other = {**STRONG, "rand_augment": {"operations": 3}, "grey": 0.5}
    before, after = (drawn(weak_strong(weak=WEAK, strong=strong), 0, 30) for strong in (STRONG, other))
    changed = ("strong.rand_augment",)
    assert all(same(a, b, but=changed) for a, b in zip(before, after))


def test_each_crop_has_its_own_probabilities_in_a_pipeline():
    view = weak_strong(crops=2, weak={"blur": [1.0, 0.1], "solarise": [0.0, 0.2]})
    first, second = drawn(view, 0, 500), drawn(view, 1, 500)
    assert np.mean([draw["weak.blur"] > 0 for draw in first]) == 1.0
    assert np.mean([draw["weak.blur"] > 0 for draw in second]) == pytest.approx(0.1, abs=0.05)
    assert not any(draw["weak.solarise"] for draw in first)


@pytest.mark.parametrize(("share", "pipeline"), [(0.0, WEAK), (1.0, {"erase": 0.9, "jitter": 0.5})])
def test_with_one_pipeline_only_views_are_those_of_multicrop(picture, share, pipeline):
    weak, strong = (pipeline, STRONG) if share == 0.0 else (WEAK, pipeline)
    sides = (weak_strong(strong_share=share, weak=weak, strong=strong), multicrop(**pipeline))
    images = []
    for view in sides:
        draws = drawn(view, 0, 12)
        crops = torch.from_numpy(np.stack([view.cut(picture, draw) for draw in draws]))
        images.append(view.finish(crops, tensors(draws)))
    assert torch.equal(*images)


def test_strong_crops_are_cut_from_the_augmented_picture_and_weak_ones_from_the_plain(picture):
    view = weak_strong(weak=WEAK, strong={"rand_augment": {"apply": 1.0}})
    for draw in drawn(view, 0, 30):
        augmented = view.strong.rand_augment(picture, {"rand_augment": draw["strong.rand_augment"]})
        assert np.array_equal(view.cut(picture, draw), view.crop.cut(augmented if draw["strong"] else picture, draw))


def test_cutting_leaves_the_picture_as_it_was(picture):
    before = np.asarray(picture).copy()
    for draw in drawn(weak_strong(**BOTH), 0, 20):
        weak_strong(**BOTH).cut(picture, draw)
    assert np.array_equal(np.asarray(picture), before)


def test_only_strong_rows_are_erased_where_only_strong_erases(picture):
    view = weak_strong(strong={"erase": ERASE | {"fill": "zeros"}})
    draws = drawn(view, 0, 40)
    crops = torch.full((40, 16, 16, 3), 255, dtype=torch.uint8)
    black = (view.finish(crops, tensors(draws)) < 0).flatten(1).any(1)
    assert torch.equal(black, tensors(draws)["strong"])


@pytest.mark.parametrize(
    ("early", "means", "deviations"),
    [
        (True, (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), (1 / 0.229, 1 / 0.224, 1 / 0.225)),
        (False, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_erased_noise_is_normalised_with_the_crop_or_put_in_after_it(early, means, deviations):
    view = weak_strong(size=64, strong_share=1.0, strong={"erase": ERASE | {"before_normalise": early}})
    draws = drawn(view, 0, 60)
    crops = torch.full((60, 64, 64, 3), 128, dtype=torch.uint8)
    images = view.finish(crops, tensors(draws)).transpose(0, 1)
    for channel, mean, deviation in zip(images, means, deviations):
        erased = channel[~torch.isclose(channel, channel.flatten().mode().values)]
        assert erased.mean() == pytest.approx(mean, abs=0.05 * deviation)
        assert erased.std() == pytest.approx(deviation, rel=0.02)


def test_strong_draws_two_distinct_operations_of_fifteen_and_applies_each_half_of_the_time():
    view = weak_strong(strong_share=1.0, strong={"rand_augment": 1.0})
    applied = np.stack([draw["strong.rand_augment"][:, 0] for draw in drawn(view, 0, 4000)])
    assert (applied < 0).all(1).mean() == pytest.approx(0.25, abs=0.02)
    twice = applied[(applied >= 0).all(1)]
    assert (twice[:, 0] != twice[:, 1]).all()
    shares = np.bincount(applied[applied >= 0].astype(int), minlength=15) / 4000
    assert len(shares) == len(OPERATIONS) == 15
    assert shares == pytest.approx(np.full(15, 1 / 15), abs=0.015)


def test_a_column_is_refused_where_each_crop_has_a_coin():
    assert 'needs coin = "sample"' in mistakes(column="weak")["column"]
    assert 'needs coin = "sample"' in mistakes(coin="crop", column="weak")["column"]


def test_a_list_of_the_wrong_length_is_refused_where_it_stands_in_a_pipeline():
    wrong = mistakes(crops=2, weak={"blur": [0.1, 0.2, 0.3], "grey": [0.1, 0.2]}, strong={"rand_augment": [1.0] * 3})
    assert set(wrong) == {"weak.blur", "strong.rand_augment"}
    assert "3 probabilities for 2 crops" in wrong["weak.blur"]


def test_lists_are_counted_in_pipelines_that_are_options_already():
    one = WeakStrongOptions.model_validate({"size": 16, "weak": {"blur": [0.5]}})
    three = WeakStrongOptions.model_validate({"size": 16, "crops": 3, "weak": {"blur": [0.1, 0.2, 0.3]}})
    assert WeakStrongOptions(size=16, crops=3, weak=one.weak).weak == one.weak
    with pytest.raises(ValidationError, match="3 probabilities for 2 crops"):
        WeakStrongOptions(size=16, crops=2, strong=three.weak)


def test_other_mistakes_in_a_pipeline_keep_their_path_and_hint():
    wrong = mistakes(weak={"blurr": 0.5}, strong={"erase": {"fill": "pink"}}, coin="both")
    assert set(wrong) == {"weak.blurr", "strong.erase.fill", "coin"}
    assert "did you mean 'blur'" in wrong["weak.blurr"]


def test_options_survive_being_written_out():
    options = WeakStrongOptions.model_validate({"size": 16, **PAIR, "strong_share": 0.25})
    assert WeakStrongOptions.model_validate(options.model_dump(mode="json", exclude_none=True)) == options


class OnePicture:
    """The same picture for every sample, as a source of the loader."""

    def __init__(self, picture: Image.Image, count: int) -> None:
        self.picture, self.count = picture, count

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> Image.Image:
        return self.picture


def mugs_views() -> dict[str, Multicrop | WeakStrong]:
    text = DOCS.read_text().partition("# file: mugs-views.toml\n")[2].partition("```")[0]
    document = {
        "schema": 1,
        "data": {"train": "demo"},
        "backbone": {"name": "vit", "width": 96, "depth": 2, "heads": 3},
        "loss": [{"name": "simclr", "views": "teacher"}],
        "optimizer": {"lr": 1e-3},
        "train": {"epochs": 1, "batch_size": 8},
    }
    recipe = recipe_from_document(document | tomllib.loads(text), origin="mugs-views")
    kinds = {"multicrop": Multicrop, "weak_strong": WeakStrong}
    return {name: kinds[choice.name](choice.options, Context()) for name, choice in recipe.views.items()}


def test_the_views_of_mugs_in_the_docs_give_its_fourteen_crops_with_the_right_coins(picture):
    views = mugs_views()
    shapes = {name: ViewShape(view.crop.settings.crops, view.crop.settings.size) for name, view in views.items()}
    batch = ViewReader(OnePicture(picture, 24), views, shapes, seed=0).read([(0, index) for index in range(24)])
    sizes = {name: tuple(crops.shape[:3]) for name, crops in batch.crops.items()}
    assert sizes == {"teacher": (2, 24, 224), "global": (2, 24, 224), "local": (10, 24, 96)}
    pair, local = batch.draws["global"]["strong"], batch.draws["local"]["strong"]
    assert "strong" not in batch.draws["teacher"]
    assert torch.equal(batch.columns["weak"], ~pair[0])
    assert torch.equal(pair[0], pair[1])
    assert 0 < pair[0].sum() < 24
    assert all(0 < crop.sum() < 24 for crop in local)
    assert len({tuple(crop.tolist()) for crop in local}) == 10


def test_the_views_of_mugs_are_finished_to_their_sizes(picture):
    for view in mugs_views().values():
        size, draws = view.crop.settings.size, drawn(view, 1, 3)
        crops = torch.from_numpy(np.stack([view.cut(picture, draw) for draw in draws]))
        images = view.finish(crops, tensors(draws))
        assert images.shape == (3, 3, size, size)
        assert images.isfinite().all()
