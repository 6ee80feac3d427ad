"""`--set`: one key changed from the command line."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.recipe import load_recipe
from sslcli.recipe.mistakes import RecipeError
from sslcli.recipe.overrides import Refused, parse_value, split_flag
from sslcli.recipe.tables import Recipe


def loaded(*flags: str) -> Recipe:
    return load_recipe("base.toml", flags)


def mistake(*flags: str) -> str:
    with pytest.raises(RecipeError) as told:
        loaded(*flags)
    return told.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("1e-3", 1e-3),
        ("true", True),
        ('"2"', "2"),
        ("demo", "demo"),
        ("True", "True"),
        ("./pictures of mine", "./pictures of mine"),
        ("hf:cifar10:plain@train", "hf:cifar10:plain@train"),
        ("[1, 2]", [1, 2]),
        ("{start = 0.9, end = 1}", {"start": 0.9, "end": 1}),
    ],
)
def test_the_right_side_is_toml_and_a_plain_word_is_a_string(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["", "[1", '"half', "{a = }", "1\nother = 2"])
def test_a_right_side_that_begins_like_toml_but_is_not_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_value(text)


def test_the_left_side_may_have_quoted_parts_with_an_equals_sign() -> None:
    assert split_flag('optimizer.lr_factors."a=b.c" = 2') == (("optimizer", "lr_factors", "a=b.c"), "2")


@settings(deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1, max_size=4))
def test_any_key_can_be_said_within_quotes(parts: list[str]) -> None:
    quoted = ".".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
    assert split_flag(f"{quoted}=1") == (tuple(parts), "1")


@pytest.mark.usefixtures("here")
class TestOnARecipe:
    def test_a_key_is_changed(self) -> None:
        assert loaded("train.epochs=3").train.epochs == 3.0

    def test_a_table_is_made_where_there_is_none(self) -> None:
        recipe = loaded("probe.data=demo", "optimizer.lr_factors.head=10")
        assert recipe.probe is not None
        assert recipe.optimizer.lr_factors == {"head": 10.0}

    @pytest.mark.parametrize("key", ["loss.1", 'loss."toy.pair"', "loss.toy.pair"])
    def test_a_loss_is_addressed_by_place_or_by_name(self, key: str) -> None:
        assert [loss.options.weight for loss in loaded(f"{key}.weight=2").losses] == [1.0, 2.0]

    def test_a_whole_array_can_be_said(self) -> None:
        assert [loss.name for loss in loaded('loss=[{name = "toy"}]').losses] == ["toy"]

    def test_an_entry_of_a_plain_array_can_be_said(self) -> None:
        assert loaded("data.mean=[0, 0, 0]", "data.mean.1=0.5").data.mean == (0.0, 0.5, 0.0)

    def test_another_plugin_starts_its_table_afresh_wherever_its_flag_stands(self) -> None:
        recipe = loaded("routing.experts=4", "backbone.name=able", "routing.name=round")
        assert recipe.document["backbone"] == {"name": "able"}
        assert recipe.document["routing"]["experts"] == 4

    def test_a_mistake_names_the_flag(self) -> None:
        assert mistake("optimizer.lrr=1") == "--set optimizer.lrr=1: optimizer.lrr unknown option"

    def test_a_table_made_by_a_flag_is_the_flags_mistake(self) -> None:
        assert mistake("optimiser.lr=1") == "--set optimiser.lr=1: optimiser unknown table"

    @pytest.mark.parametrize(
        ("flag", "message"),
        [
            ("train.epochs", "is not of the form key=value"),
            ("=3", "is not of the form key=value"),
            ("train.epochs=", "has no value"),
            ("extends=quickstart", "a flag cannot extend a recipe"),
            ("train.epochs.x=1", "train.epochs is not a table"),
            ("loss.2.weight=1", "loss has no entry 2: there are 2, counted from 0"),
            ("loss.tyo.weight=1", "loss has no entry named 'tyo'"),
        ],
    )
    def test_a_flag_that_makes_no_sense_is_told(self, flag: str, message: str) -> None:
        assert mistake(flag) == f"--set {flag}: {message}"

    def test_a_name_that_two_losses_have_is_refused(self, here: Path) -> None:
        flag = "loss.toy.weight=1"
        assert "2 entries named 'toy'" in mistake('loss=[{name = "toy"}, {name = "toy"}]', flag)

    def test_mistakes_of_flags_and_files_come_together(self, here: Path) -> None:
        text = (here / "base.toml").read_text().replace("epochs = 10", "epochs = 0")
        (here / "base.toml").write_text(text)
        told = mistake("x", "optimizer.lr=-1").splitlines()
        assert [line.split(": ")[0] for line in told if not line.startswith("  hint")] == [
            "3 mistakes in the recipe",
            "base.toml:28",
            "--set x",
            "--set optimizer.lr=-1",
        ]
