"""A folder to write recipes into, and a recipe over a plugin file of fakes."""

from collections.abc import Callable
from pathlib import Path

import pytest

FAKES = Path(__file__).parent / "recipe_fakes.py"  # one file for all tests: a process loads a name once
BASE = f"""\
# A base for tests
schema = 1
plugins = ["{FAKES}"]

[data]
train = "demo"

[backbone]
name = "small"
width = 32

[views.global]
augmentation = "cut"
crops = 2
size = 32

[[loss]]
name = "toy"
weight = 1.0

[[loss]]
name = "toy.pair"

[optimizer]
lr = 1e-3

[train]
epochs = 10
batch_size = 16
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with `base.toml`."""
    (tmp_path / "base.toml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fakes() -> Path:
    """The plugin file."""
    return FAKES


@pytest.fixture
def write(here: Path) -> Callable[..., str]:
    """Write a recipe into the working folder and give its name back."""

    def write_recipe(text: str, name: str = "recipe.toml") -> str:
        (here / name).write_text(text)
        return name

    return write_recipe


@pytest.fixture
def edit(write: Callable[..., str]) -> Callable[[str, str], str]:
    """Write the base recipe with one piece of text changed."""

    def edit_recipe(old: str, new: str) -> str:
        assert old in BASE
        return write(BASE.replace(old, new, 1))

    return edit_recipe
