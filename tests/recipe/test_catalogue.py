"""Finding recipes."""

from pathlib import Path

import pytest

from sslcli.errors import UserError
from sslcli.recipe import catalogue, find_recipe, list_recipes


@pytest.fixture
def shelf(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of two recipes."""
    folder = here / "shelf"
    (folder / "mae").mkdir(parents=True)
    (folder / "mae" / "tiny.toml").write_text("\n#  MAE, tiny.  \nschema = 1\n# more")
    (folder / "first.toml").write_text("schema = 1")
    monkeypatch.setattr(catalogue, "catalogue_folder", lambda: folder)
    return folder


def test_the_catalogue_is_listed_by_name_with_the_first_comment(shelf: Path) -> None:
    assert [(listed.name, listed.summary) for listed in list_recipes()] == [("first", ""), ("mae/tiny", "MAE, tiny.")]


def test_a_recipe_is_found_by_name_with_or_without_its_ending(shelf: Path) -> None:
    assert find_recipe("mae/tiny") == find_recipe("mae/tiny.toml") == shelf / "mae" / "tiny.toml"


def test_a_file_comes_before_a_name(shelf: Path, here: Path) -> None:
    (here / "first.toml").write_text("")
    assert find_recipe("first.toml") == Path("first.toml")


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("mae/tyni", "did you mean 'mae/tiny'?"),
        ("bas.toml", "did you mean 'base.toml'?"),
        ("run", "did you mean 'run/recipe.toml'?"),
        ("zzz", "known: first, mae/tiny"),
    ],
)
def test_a_reference_that_leads_nowhere_gets_a_hint(shelf: Path, here: Path, reference: str, hint: str) -> None:
    (here / "run").mkdir()
    (here / "run" / "recipe.toml").touch()
    with pytest.raises(UserError) as told:
        find_recipe(reference)
    assert told.value.hint == hint


def test_the_recipes_that_ship_have_a_summary() -> None:
    assert all(listed.summary for listed in list_recipes())
    assert "quickstart" in [listed.name for listed in list_recipes()]
