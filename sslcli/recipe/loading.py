"""The way from a recipe's name, path or document to a checked `Recipe`, and back to TOML."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import tomli_w

from sslcli.recipe.checking import SCHEMA, TABLES, Parts, check_parts
from sslcli.recipe.cross import check_together
from sslcli.recipe.layers import Layers, name_for, read_layers, shown, stack
from sslcli.recipe.mistakes import Origin, RecipeError
from sslcli.recipe.overrides import apply_overrides
from sslcli.recipe.tables import Choice, Recipe


def load_recipe(reference: str | Path, overrides: Sequence[str] = (), *, plugin_files: Sequence[Path] = ()) -> Recipe:
    """A recipe by its path or its name in the catalogue, resolved and checked, with `--set` overrides put over it.

    Raises RecipeError (a UserError) that tells all mistakes at once. Imports no torch.
    """
    return resolve(read_layers(reference), overrides, plugin_files)


def recipe_from_document(
    document: Mapping[str, Any],
    *,
    origin: str,
    overrides: Sequence[str] = (),
    plugin_files: Sequence[Path] = (),
) -> Recipe:
    """A recipe from TOML data, such as the document of a run; `origin` is its file, or its name in mistakes."""
    path = Path(origin)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    layers = stack(document, Origin(shown(path) if text else origin, text), path)
    layers.chosen = name_for(path)
    return resolve(layers, overrides, plugin_files)


def resolve(layers: Layers, overrides: Sequence[str], plugin_files: Sequence[Path]) -> Recipe:
    """Merged layers to a recipe."""
    mistakes = apply_overrides(layers, overrides)
    parts = check_parts(layers, tuple(plugin_files), mistakes)
    check_together(parts)
    if parts.mistakes:
        raise RecipeError(parts.mistakes)
    return assemble(parts)


def assemble(parts: Parts) -> Recipe:
    """The recipe of parts that have no mistakes."""
    tables = cast(dict[str, Any], {name: parts.tables.get(name) for name in TABLES})
    assert parts.backbone is not None
    return Recipe(
        name=parts.name,
        init=parts.init,
        backbone=parts.backbone,
        views=parts.views,
        mixed=parts.mixed,
        losses=tuple(parts.losses),
        routing=parts.routing,
        document=document_of(parts),
        **tables,
    )


def document_of(parts: Parts) -> dict[str, Any]:
    """The recipe as plain TOML data, every default written out; options that are None are left out."""
    plain = {name: options.model_dump(mode="json", exclude_none=True) for name, options in parts.tables.items()}
    choices = {"backbone": parts.backbone, "routing": parts.routing}
    plugins = {name: written(choice) for name, choice in choices.items() if choice is not None}
    groups = parts.views | parts.mixed
    said = {
        "schema": SCHEMA,
        "name": parts.name,
        "init": parts.init,
        "plugins": list(parts.plugins),
        "views": {group: written(groups[group], "augmentation") for group in parts.layers.data["views"]},
        "loss": [written(choice) for choice in parts.losses],
        **plain,
        **plugins,
    }
    return {key: said[key] for key in ORDER if key in said and (key != "plugins" or parts.plugins)}


ORDER = (
    *("schema", "name", "init", "plugins", "data", "probe", "evaluation", "backbone", "views", "loss", "routing"),
    *("teacher", "optimizer", "train", "checkpoint", "sentinel"),
)


def written(choice: Choice, key: str = "name") -> dict[str, Any]:
    """The table of a plugin: its name, then its options."""
    return {key: choice.name, **choice.options.model_dump(mode="json", exclude_none=True)}


def to_toml(document: Mapping[str, Any]) -> str:
    """A document as the text of a recipe file."""
    return tomli_w.dumps(document)
