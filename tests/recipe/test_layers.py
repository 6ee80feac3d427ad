"""Recipes that extend one another."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sslcli.errors import UserError
from sslcli.recipe import load_recipe
from sslcli.recipe.layers import Layers
from sslcli.recipe.mistakes import Origin, RecipeError

Write = Callable[..., str]


def test_a_recipe_changes_what_it_says_and_keeps_the_rest(write: Write) -> None:
    recipe = load_recipe(write('extends = "base.toml"\n[train]\nepochs = 3'))
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.backbone.options.width) == (3.0, 16, 32)


def test_an_array_is_replaced_as_a_whole(write: Write) -> None:
    recipe = load_recipe(write('extends = "base.toml"\n[[loss]]\nname = "toy"\nweight = 2'))
    assert [(loss.name, loss.options.weight) for loss in recipe.losses] == [("toy", 2.0)]


def test_a_table_that_names_another_plugin_starts_afresh(write: Write) -> None:
    recipe = load_recipe(write('extends = "base.toml"\n[backbone]\nname = "able"'))
    assert recipe.document["backbone"] == {"name": "able"}


def test_the_name_belongs_to_the_file_and_is_not_inherited(write: Write) -> None:
    write('extends = "base.toml"\nname = "first"', "one.toml")
    assert load_recipe("one.toml").name == "first"
    assert load_recipe(write('extends = "one.toml"', "two.toml")).name == "two"


def test_a_chain_is_followed_from_the_folder_of_each_recipe(here: Path, fakes: Path) -> None:
    (here / "deep").mkdir()
    plugins = f'plugins = ["{os.path.relpath(fakes, here / "deep")}"]'
    (here / "deep" / "one.toml").write_text(f'extends = "../base.toml"\n{plugins}\n[train]\nepochs = 5')
    (here / "two.toml").write_text('extends = "deep/one.toml"\n[train]\nbatch_size = 8')
    recipe = load_recipe("two.toml")
    assert (recipe.train.epochs, recipe.train.batch_size) == (5.0, 8)
    assert recipe.document["plugins"] == [str(fakes)]


def test_a_recipe_of_the_catalogue_is_extended_by_name(write: Write) -> None:
    recipe = load_recipe(write('extends = "quickstart"\n[train]\nepochs = 5'))
    assert (recipe.name, recipe.train.epochs) == ("recipe", 5.0)


def test_a_circle_is_refused_at_the_line_that_closes_it(write: Write) -> None:
    write('extends = "b.toml"', "a.toml")
    write('schema = 1\nextends = "a.toml"', "b.toml")
    with pytest.raises(RecipeError, match=r"^b\.toml:2: extends makes a circle: a\.toml -> b\.toml -> a\.toml$"):
        load_recipe("a.toml")


def test_a_base_that_is_not_there_is_told_with_a_near_name(write: Write) -> None:
    with pytest.raises(RecipeError) as told:
        load_recipe(write('schema = 1\nextends = "quickstrt"'))
    assert told.value.message.startswith("recipe.toml:2: extends leads nowhere: no recipe is called 'quickstrt'")
    assert told.value.hint == "did you mean 'quickstart'?"


def test_a_mistake_is_told_of_the_file_that_made_it(write: Write) -> None:
    write('extends = "base.toml"\n[train]\nepoch = 5', "middle.toml")
    with pytest.raises(RecipeError, match=r"^middle\.toml:3: train\.epoch unknown option$"):
        load_recipe(write('extends = "middle.toml"\n[train]\nbatch_size = 8'))


def test_what_is_not_toml_is_told_with_its_line(write: Write) -> None:
    with pytest.raises(RecipeError, match=r"^recipe\.toml:2: not TOML: "):
        load_recipe(write("schema = 1\nepochs 5\n"))


def test_a_file_that_is_not_text_is_refused(here: Path) -> None:
    (here / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not text in UTF-8"):
        load_recipe("binary.toml")


tables: Any = st.recursive(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 3), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.lists(inner, max_size=2) | inner),
    max_leaves=6,
)


def merged(base: Any, over: Any) -> Any:
    """The definition: tables key by key, everything else the last word."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merged(base[key], over[key]) if key in base else over[key] for key in over}}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables, tables)
def test_merging_follows_its_definition_and_leaves_what_it_merges_alone(base: Any, over: Any) -> None:
    first, second = Origin("first"), Origin("second")
    layers = Layers(first)
    before = repr((base, over))
    layers.put(base, first)
    layers.put(over, second)
    assert layers.data == merged(base, over)
    assert all(layers.origin((key,)) == second for key in over if not isinstance(base.get(key), dict))
    assert repr((base, over)) == before
