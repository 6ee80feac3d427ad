"""The first recipe of one's own."""

from pathlib import Path

import pytest

from sslcli.errors import UserError
from sslcli.recipe import load_recipe
from sslcli.recipe.starting import start_recipe


@pytest.fixture
def pictures(here: Path) -> Path:
    (here / "pictures").mkdir()
    return here / "pictures"


def test_it_trains_on_the_folder_by_the_base_and_is_called_after_its_file(here: Path, pictures: Path) -> None:
    start_recipe(Path("mine.toml"), "pictures", "base.toml")
    recipe = load_recipe("mine.toml")
    assert (recipe.name, recipe.data.train) == ("mine", str(pictures))
    assert recipe.losses == load_recipe("base.toml").losses


def test_every_line_that_is_offered_can_be_taken(here: Path, pictures: Path) -> None:
    start_recipe(Path("mine.toml"), "pictures", "quickstart")
    text = Path("mine.toml").read_text()
    offered = [line for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert len(offered) == 5
    for line in offered:
        text = text.replace(line, line.removeprefix("# "))
    Path("mine.toml").write_text(text)
    taken, quickstart = load_recipe("mine.toml"), load_recipe("quickstart")
    assert (taken.train, taken.optimizer, taken.backbone) == (
        quickstart.train,
        quickstart.optimizer,
        quickstart.backbone,
    )


def test_a_probe_of_the_base_is_switched_off(here: Path, pictures: Path) -> None:
    (here / "probed.toml").write_text('extends = "base.toml"\n[probe]\ndata = "demo"')
    assert start_recipe(here / "mine.toml", "pictures", "probed.toml").probe is None


def test_in_another_folder_it_still_finds_its_base(here: Path, pictures: Path) -> None:
    start_recipe(Path("deep/er/mine.toml"), "demo", "base.toml")
    assert load_recipe("deep/er/mine.toml").data.train == "demo"


def test_an_odd_name_of_a_file_or_folder_does_no_harm(here: Path) -> None:
    odd = here / 'my "pictures" \\ of 2026'
    odd.mkdir()
    recipe = start_recipe(Path("my first one.toml"), odd.name, "base.toml")
    assert (recipe.name, recipe.data.train) == ("my-first-one", str(odd))


def test_nothing_is_overwritten(here: Path, pictures: Path) -> None:
    (here / "mine.toml").write_text("precious")
    with pytest.raises(UserError, match="is there already"):
        start_recipe(Path("mine.toml"), "pictures", "base.toml")
    assert (here / "mine.toml").read_text() == "precious"


def test_a_folder_that_is_not_there_is_told_and_nothing_is_written(here: Path) -> None:
    with pytest.raises(UserError, match="there is no folder 'picturse'"):
        start_recipe(Path("mine.toml"), "picturse", "base.toml")
    assert not (here / "mine.toml").exists()
