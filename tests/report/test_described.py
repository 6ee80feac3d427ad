"""A recipe in words."""

import pytest

from sslcli.plugins import Registry, load_registry
from sslcli.report.described import changed, in_words, leaves, link_to, losses_of, part_of, training_of


def test_a_loss_has_its_summary_its_paper_and_only_the_options_that_are_unusual() -> None:
    table = {"name": "mae", "weight": 0.5, "views": "global", "mask_ratio": 0.5}
    part = part_of("loss", table, load_registry())
    assert (part.name, part.weight, part.options) == ("mae", "0.5", "mask_ratio 0.5")
    assert part.summary
    assert part.link == "https://arxiv.org/abs/2111.06377"


def test_a_part_whose_plugin_is_not_installed_has_what_its_table_says() -> None:
    part = part_of("loss", {"name": "gone", "weight": 1.0, "width": 3}, Registry(()))
    assert (part.name, part.options, part.summary) == ("gone", "width 3", "")


def test_losses_of_a_recipe_of_another_shape_are_none() -> None:
    assert losses_of({"loss": "mae"}, Registry(())) == []


def test_options_that_are_as_usual_are_left_out() -> None:
    offer = load_registry().find("loss", "mae")
    assert changed({"weight": 1.0, "decoder_width": 64}, offer.options) == {"decoder_width": 64}


@pytest.mark.parametrize(("lr_batch", "peak"), [(256, "0.002"), (0, "0.001")])
def test_the_peak_rate_grows_with_the_batch_where_the_recipe_says_so(lr_batch: int, peak: str) -> None:
    recipe = {"train": {"batch_size": 512}, "optimizer": {"lr": 0.001, "lr_batch": lr_batch}}
    assert training_of(recipe)["peak rate"] == peak


def test_leaves_name_arrays_of_tables_by_name_and_number_those_of_one_name() -> None:
    document = {"loss": [{"name": "a", "w": 1}, {"name": "a", "w": 2}], "views": {"global": {"size": [1, 2]}}}
    assert dict(leaves(document)) == {"loss[a].w": 1, "loss[a#2].w": 2, "views.global.size": [1, 2]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "yes"),
        ("", "none"),
        ([], "none"),
        ([3], "3"),
        ([0.9, 0.95], "(0.9, 0.95)"),
        (1e-08, "1e-08"),
        ({"start": 0.98, "end": 1.0, "schedule": "cosine", "per": "step"}, "0.98 to 1, cosine"),
        ({"start": 1.0, "end": 0.0, "epochs": 3.0, "per": "epoch"}, "1 to 0, over 3 epochs, once an epoch"),
        ({}, "none"),
    ],
)
def test_values_are_told_in_words(value: object, words: str) -> None:
    assert in_words(value) == words


@pytest.mark.parametrize(
    ("paper", "link"),
    [
        ("arXiv:2111.06377", "https://arxiv.org/abs/2111.06377"),
        ("doi:10.1/2", ""),
        ('arXiv:2111.06377"><script>', ""),
        ("", ""),
    ],
)
def test_only_whole_arxiv_numbers_become_links(paper: str, link: str) -> None:
    assert link_to(paper) == link
