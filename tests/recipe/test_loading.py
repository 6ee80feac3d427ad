"""The resolved recipe, and the way there and back."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sslcli.recipe import list_recipes, load_recipe, recipe_from_document, to_toml
from sslcli.recipe.mistakes import RecipeError


def test_every_default_is_written_out_and_none_is_left_out(here: Path) -> None:
    document = load_recipe("base.toml").document
    assert document["checkpoint"] == {"every_steps": 500, "keep": 3}
    assert document["loss"][0] == {
        **{"name": "toy", "weight": 1.0, "views": "global"},
        **{"temperature": 0.2, "ratio": 0.75, "hard": False},
    }
    assert "drop" not in document["backbone"]
    assert document["init"] == ""


def test_the_document_is_a_recipe_that_says_the_same(here: Path) -> None:
    recipe = load_recipe("base.toml", ["probe.data=demo", 'optimizer.lr_factors."a.b"=2'])
    assert recipe_from_document(recipe.document, origin="run/recipe.toml") == recipe


def test_a_saved_document_is_loaded_from_anywhere(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe("base.toml")
    (here / "run").mkdir()
    (here / "run" / "recipe.toml").write_text(to_toml(recipe.document))
    monkeypatch.chdir("/")
    assert load_recipe(here / "run" / "recipe.toml") == recipe


schedules: Any = st.fixed_dictionaries(
    {"start": st.floats(0, 1), "end": st.floats(0, 1)},
    optional={
        "schedule": st.sampled_from(["cosine", "linear"]),
        "epochs": st.floats(0.01, 0.1),
        "per": st.just("epoch"),
    },
)
options: Any = st.fixed_dictionaries(
    {
        "epochs": st.floats(0.1, 1e6) | st.integers(1, 100),
        "lr": st.floats(1e-12, 1e3),
        "temperature": st.floats(0, 1) | st.integers(0, 3) | schedules,
        "patterns": st.dictionaries(st.text(min_size=1, max_size=6), st.integers(0, 9), max_size=3),
        "frozen": st.lists(st.text(max_size=5), max_size=2),
        "group": st.text(st.characters(exclude_categories=["C"], exclude_characters=":"), min_size=1, max_size=6),
    }
)


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)
@given(options)
def test_any_recipe_survives_the_way_through_its_text(here: Path, said: dict[str, Any]) -> None:
    document = tomllib.loads((here / "base.toml").read_text())
    document["train"]["epochs"] = said["epochs"]
    document["optimizer"] |= {"lr": said["lr"], "lr_factors": said["patterns"]}
    document["optimizer"]["freeze"] = [{"parameters": said["frozen"]}]
    document["views"][said["group"]] = document["views"].pop("global")
    document["loss"] = [{"name": "toy", "temperature": said["temperature"], "views": said["group"]}]
    recipe = recipe_from_document(document, origin=str(here / "made.toml"))
    assert recipe_from_document(tomllib.loads(to_toml(recipe.document)), origin=str(here / "made.toml")) == recipe


def test_a_document_tells_its_mistakes_by_its_name() -> None:
    with pytest.raises(RecipeError, match=r"run 7: data\.train is missing"):
        recipe_from_document({}, origin="run 7")


def test_a_plugin_file_of_the_command_line_goes_into_the_document(here: Path, fakes: Path) -> None:
    recipe = load_recipe("base.toml", ["plugins=[]"], plugin_files=[Path(os.path.relpath(fakes))])
    assert recipe.document["plugins"] == [str(fakes)]


def test_a_plugin_file_of_a_flag_is_taken_from_the_working_folder(here: Path, fakes: Path) -> None:
    recipe = load_recipe("base.toml", [f'plugins=["{os.path.relpath(fakes)}"]'])
    assert recipe.document["plugins"] == [str(fakes)]


@pytest.mark.parametrize("name", [listed.name for listed in list_recipes()])
def test_every_recipe_of_the_catalogue_is_right(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe_from_document(recipe.document, origin=name) == recipe


def test_checking_a_recipe_imports_no_torch() -> None:
    code = "import sys; from sslcli.recipe import load_recipe; load_recipe('quickstart'); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "timm", "accelerate", "datasets", "PIL", "numpy", "torchvision"}
    assert heavy.isdisjoint(said)
    assert "sslcli.recipe.checking" in said
