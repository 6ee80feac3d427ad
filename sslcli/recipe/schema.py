"""A JSON Schema of recipes, with the installed plugins, by which editors complete keys and mark mistakes."""

from collections.abc import Iterable
from typing import Any

from sslcli.api import Offer, Options
from sslcli.plugins import Registry
from sslcli.recipe.checking import SCHEMA, TABLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
WHOLE = ["data", "backbone", "views", "loss", "optimizer", "train"]  # tables of a recipe that extends none
TOP: dict[str, Any] = {
    "schema": {"const": SCHEMA, "description": "Which form of recipe this is."},
    "name": {"type": "string", "description": "Of the run's folder; the file's own name when left out."},
    "init": {"type": "string", "description": "Weights to begin with: a run, a file or timm:NAME; empty for random."},
    "extends": {"type": "string", "description": "A recipe to begin with: a name of the catalogue, or a path."},
    "plugins": {
        "type": "array",
        "items": {"type": "string"},
        "description": "Plugins in single files, taken from the folder of the recipe.",
    },
}

Json = dict[str, Any]


def recipe_schema(registry: Registry) -> Json:
    """The schema (Draft 2020-12) of a recipe over these plugins: one branch a plugin, told apart by its name.

    A recipe that extends another says only what it changes, so keys are required only of losses, whose array is always
    whole; `sslcli recipe check` knows the rest.
    """
    definitions: Json = {}
    properties = dict(TOP)
    for name, model in TABLES.items():
        properties[name] = optional(table_schema(model, name, definitions))
    for kind in ("backbone", "routing"):
        properties[kind] = optional(any_of(registry.offers(kind), "name", definitions))
    group = optional(any_of(registry.offers("augmentation"), "augmentation", definitions))
    properties["views"] = {"type": "object", "additionalProperties": group, "description": "View groups, by name."}
    losses = any_of(registry.offers("loss"), "name", definitions)
    properties["loss"] = {"type": "array", "minItems": 1, "items": losses, "description": "Terms to minimise."}
    return {
        "$schema": DIALECT,
        "title": "sslcli recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "anyOf": [{"required": ["extends"]}, {"required": WHOLE}],
        "$defs": definitions,
    }


def any_of(offers: Iterable[Offer], key: str, definitions: Json) -> Json:
    """The tables of plugins of one kind; any table when none is installed."""
    branches = [branch(offer, key, definitions) for offer in offers]
    return {"anyOf": branches} if branches else {"type": "object"}


def branch(offer: Offer, key: str, definitions: Json) -> Json:
    """The table of one plugin: its name by `key`, then its options."""
    schema = table_schema(offer.options, f"{offer.kind}.{offer.name}", definitions)
    said = " ".join(filter(None, [offer.summary, f"({offer.paper})" if offer.paper else ""]))
    name = {"const": offer.name, **({"description": said} if said else {})}
    return {
        **schema,
        "title": offer.name,
        **({"description": said} if said else {}),
        "properties": {key: name, **schema.get("properties", {})},
        "required": [key, *schema.get("required", [])],
    }


def table_schema(model: type[Options], place: str, definitions: Json) -> Json:
    """The schema of one model; what it refers to goes into the definitions, under its own place."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{place}.{{model}}")
    definitions |= {f"{place}.{name}": inner for name, inner in schema.pop("$defs", {}).items()}
    return schema


def optional(schema: Json) -> Json:
    """A table of which any part may be left to the recipe that is extended."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [optional(inner) for inner in schema["anyOf"]]}
    return {key: value for key, value in schema.items() if key != "required"}
