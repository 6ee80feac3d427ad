"""The JSON Schema for editors, judged by a small validator of the keywords that it uses."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sslcli.plugins import Registry, load_registry
from sslcli.recipe import list_recipes
from sslcli.recipe.schema import recipe_schema

TYPES: dict[str, type | tuple[type, ...]] = {
    **{"object": dict, "array": list, "string": str, "boolean": bool},
    **{"integer": int, "number": (int, float), "null": type(None)},
}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value fits a schema, by the rules of Draft 2020-12 for the keywords below."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    checks = [
        "const" not in schema or value == schema["const"],
        "enum" not in schema or value in schema["enum"],
        "type" not in schema or is_a(value, schema["type"]),
        "anyOf" not in schema or any(fits(value, inner, root) for inner in schema["anyOf"]),
        not isinstance(value, dict) or fits_table(value, schema, root),
        not isinstance(value, list) or len(value) >= schema.get("minItems", 0),
        not isinstance(value, list) or all(fits(item, schema.get("items", {}), root) for item in value),
    ]
    return all(checks)


def is_a(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def fits_table(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    lacking = set(schema.get("required", [])) - set(value)
    rules = {key: properties.get(key, others) for key in value}
    return not lacking and all(
        rule if isinstance(rule, bool) else fits(value[key], rule, root) for key, rule in rules.items()
    )


@pytest.fixture
def schema(fakes: Path) -> dict[str, Any]:
    return recipe_schema(load_registry([fakes]))


def base(here: Path, old: str = "", new: str = "") -> dict[str, Any]:
    text = (here / "base.toml").read_text()
    assert old in text
    return tomllib.loads(text.replace(old, new, 1))


def test_a_right_recipe_fits(here: Path, schema: dict[str, Any]) -> None:
    assert fits(base(here), schema, schema)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("width = 32", "wdith = 32"),
        ("width = 32", 'width = "32"'),
        ("width = 32", "patch_size = 1.5"),
        ('name = "toy"', 'name = "tyo"'),
        ('name = "toy"\n', ""),
        ('augmentation = "cut"', 'augmentation = "blend"'),
        ("[optimizer]", "[optimiser]"),
        ("lr = 1e-3", 'lr = 1\nname = "adam"'),
        ("schema = 1", "schema = 2"),
        ('[data]\ntrain = "demo"', ""),
    ],
)
def test_a_wrong_recipe_does_not_fit(here: Path, schema: dict[str, Any], old: str, new: str) -> None:
    assert not fits(base(here, old, new), schema, schema)


def test_a_recipe_that_extends_another_says_only_what_it_changes(schema: dict[str, Any]) -> None:
    change = {"extends": "base.toml", "backbone": {"width": 64}, "optimizer": {"clip": 3.0}}
    assert fits(change, schema, schema)


@pytest.mark.parametrize("listed", list_recipes(), ids=lambda listed: listed.name)
def test_every_recipe_of_the_catalogue_fits(listed: Any) -> None:
    schema = recipe_schema(load_registry())
    assert fits(tomllib.loads(listed.path.read_text()), schema, schema)


def test_there_is_one_branch_a_plugin_told_apart_by_its_name(schema: dict[str, Any]) -> None:
    names = [branch["properties"]["name"]["const"] for branch in schema["properties"]["loss"]["items"]["anyOf"]]
    assert {"toy", "toy.pair", "toy.masked"} <= set(names)
    assert len(names) == len(set(names))


def test_the_summary_of_a_plugin_is_its_description(schema: dict[str, Any]) -> None:
    branches = schema["properties"]["loss"]["items"]["anyOf"]
    assert next(b for b in branches if b["title"] == "toy")["description"] == "A toy."


def test_without_plugins_any_table_will_do(here: Path) -> None:
    schema = recipe_schema(Registry(()))
    assert fits(base(here), schema, schema)
