"""docs/recipes.md says what is true: its reference is the tables, its recipes are right, its commands run."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from sslcli.api import LossOptions, MixOptions, RoutingOptions, Schedule, ViewOptions
from sslcli.cli import run
from sslcli.recipe import load_recipe
from sslcli.recipe.checking import KEYS, PLUGIN_TABLES, TABLES
from sslcli.recipe.tables import Freeze

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
SECTIONS = dict(re.findall(r"^### `\[(\w+)\]`\n(.*?)(?=^###? |\Z)", TEXT, re.M | re.S))
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)


def rows(text: str) -> list[tuple[str, str, str]]:
    """Key, default and meaning of every row of the tables in a text."""
    return re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", text, re.M)


def truth(model: type[BaseModel]) -> list[tuple[str, str]]:
    """Key and default of every option, as the reference must say them."""
    return [(name, written(field)) for name, field in model.model_fields.items()]


def written(field: Any) -> str:
    if field.is_required():
        return "(required)"
    if field.default is None:
        return "the whole run"
    return f"`{json.dumps(field.default)}`"  # TOML and JSON write these alike


def freeze_apart(name: str) -> tuple[str, str]:
    """A section, and what it says of the entries of `freeze`."""
    own, _, entries = SECTIONS[name].partition("Each entry of `freeze`")
    return own, entries


@pytest.mark.parametrize("name", TABLES)
def test_the_reference_has_every_key_of_a_table_with_its_default(name: str) -> None:
    own, _ = freeze_apart(name)
    assert [(key, default) for key, default, _ in rows(own)] == truth(TABLES[name])
    assert all(meaning.strip() for _, _, meaning in rows(own))


@pytest.mark.parametrize("name", TABLES)
def test_the_reference_names_every_choice(name: str) -> None:
    said = {key: default + meaning for key, default, meaning in rows(freeze_apart(name)[0])}
    for key, schema in TABLES[name].model_json_schema()["properties"].items():
        for choice in schema.get("enum", []):
            assert f'"{choice}"' in said[key], f"{name}.{key} does not say {choice}"


def test_the_reference_has_the_entries_of_freeze_and_the_keys_of_a_schedule() -> None:
    assert [(key, default) for key, default, _ in rows(freeze_apart("optimizer")[1])] == truth(Freeze)
    schedule = TEXT[TEXT.index("### Numbers that move") : TEXT.index("## Changing a key")]
    assert [(key, default) for key, default, _ in rows(schedule)] == truth(Schedule)


def test_the_reference_has_every_key_of_the_top() -> None:
    top = TEXT[TEXT.index("## Reference") : TEXT.index("### `[data]`")]
    assert [key for key, _, _ in rows(top)] == [key for key in KEYS if key not in (*TABLES, *PLUGIN_TABLES)]


def test_what_every_plugin_has_is_said() -> None:
    said = TEXT[TEXT.index("### `[backbone]`, ") : TEXT.index("### `[teacher]`")]
    for model in (LossOptions, ViewOptions, MixOptions, RoutingOptions):
        for name, default in truth(model):
            assert f"`{name}`" in said, name
            assert default.strip("()") in said, name


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "toml"])
def test_every_recipe_of_the_page_is_right(text: str, tmp_path: Path) -> None:
    (tmp_path / "page.toml").write_text(text)
    load_recipe(tmp_path / "page.toml")


def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line.removeprefix("$ ") for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        program, *arguments = shlex.split(line.partition(" > ")[0])
        assert program == "sslcli"
        assert run(arguments) == 0, line
