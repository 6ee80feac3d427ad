"""Merged TOML data to the parts of a recipe, each checked by its own table or plugin, all mistakes gathered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sslcli import __version__
from sslcli.api import Augmentation, Offer, Options
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean
from sslcli.plugins import Registry, load_registry
from sslcli.recipe.keys import KeyPath, dotted
from sslcli.recipe.layers import Layers
from sslcli.recipe.mistakes import Mistake
from sslcli.recipe.tables import Checkpoint, Choice, Data, Evaluation, Optimizer, Probe, Sentinel, Teacher, Train
from sslcli.recipe.words import validate

SCHEMA = 1
TABLES: dict[str, type[Options]] = {
    "data": Data,
    "probe": Probe,
    "evaluation": Evaluation,
    "teacher": Teacher,
    "optimizer": Optimizer,
    "train": Train,
    "checkpoint": Checkpoint,
    "sentinel": Sentinel,
}
PLUGIN_TABLES = ("backbone", "views", "loss", "routing")
KEYS = ("schema", "name", "init", "extends", "plugins", *TABLES, *PLUGIN_TABLES)
OPTIONAL = ("probe", "routing")

T = TypeVar("T", bound=Options)


@dataclass
class Parts:
    """What could be made of a recipe, and what is wrong with the rest."""

    layers: Layers
    registry: Registry
    mistakes: list[Mistake]
    name: str = ""
    init: str = ""
    plugins: tuple[str, ...] = ()
    tables: dict[str, Options] = field(default_factory=dict)
    backbone: Choice | None = None
    views: dict[str, Choice] = field(default_factory=dict)
    mixed: dict[str, Choice] = field(default_factory=dict)
    losses: list[Choice] = field(default_factory=list)
    routing: Choice | None = None

    def wrong(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Note a mistake."""
        self.mistakes.append(self.layers.mistake(path, message, hint))

    def table(self, name: str, kind: type[T]) -> T | None:
        """A checked table of the host, or None when it is absent or wrong."""
        found = self.tables.get(name)
        return found if isinstance(found, kind) else None


def check_parts(layers: Layers, plugin_files: tuple[Path, ...], mistakes: list[Mistake]) -> Parts:
    """Every part of a recipe, checked by itself."""
    parts = Parts(layers, Registry(()), mistakes)
    if not known_schema(parts):
        return parts
    check_top(parts)
    parts.plugins = check_plugin_files(parts, plugin_files)
    parts.registry = load_registry([Path(file) for file in parts.plugins if Path(file).is_file()])
    for name, model in TABLES.items():
        check_table(parts, name, model)
    check_backbone_and_routing(parts)
    check_views(parts)
    check_losses(parts)
    return parts


def known_schema(parts: Parts) -> bool:
    """Whether this sslcli can read the recipe; what another version wrote is not worth a list of mistakes."""
    schema = parts.layers.data.get("schema", SCHEMA)
    if schema == SCHEMA and not isinstance(schema, bool):
        return True
    message = f"must be {SCHEMA}, which is what sslcli {__version__} reads, not {schema!r}"
    parts.wrong(("schema",), message, "a newer recipe needs a newer sslcli")
    return False


def check_top(parts: Parts) -> None:
    """The keys outside all tables."""
    for key, value in parts.layers.data.items():
        if key not in KEYS:
            what = "unknown table" if isinstance(value, dict | list) else "unknown key"
            parts.wrong((key,), what, did_you_mean(key, KEYS))
    parts.name = check_text(parts, "name", parts.layers.chosen)
    parts.init = check_text(parts, "init", "")
    if "name" in parts.layers.data and not fit_for_folder(parts.name):
        parts.wrong(("name",), "must be fit for a folder's name", "use letters, digits, '.', '-' and '_'")


def check_text(parts: Parts, key: str, default: str) -> str:
    """A top-level string."""
    value = parts.layers.data.get(key, default)
    if isinstance(value, str):
        return value
    parts.wrong((key,), "must be a string")
    return default


def fit_for_folder(name: str) -> bool:
    """Whether a name can be the name of a folder, everywhere."""
    return bool(name) and name[0] not in ".-" and all(letter.isalnum() or letter in "._-" for letter in name)


def check_plugin_files(parts: Parts, given: tuple[Path, ...]) -> tuple[str, ...]:
    """The plugin files that the recipe names and those given on the command line, as absolute paths."""
    said = parts.layers.data.get("plugins", [])
    if not isinstance(said, list):
        parts.wrong(("plugins",), "must be an array of paths", 'for example plugins = ["my_loss.py"]')
        said = []
    for place, file in enumerate(said):
        if not isinstance(file, str):
            parts.wrong(("plugins", place), "must be a string, the path of a Python file")
        elif not Path(file).is_file():
            parts.wrong(("plugins", place), f"is not a file: '{file}'", "paths are taken from the recipe's folder")
    files = [Path(file) for file in said if isinstance(file, str)]
    return tuple(dict.fromkeys(str(expand(file).resolve()) for file in (*files, *given)))


def check_table(parts: Parts, name: str, model: type[Options]) -> None:
    """One of the host's tables; a table that is left out has its defaults, and may lack required keys."""
    table = parts.layers.data.get(name)
    if table is None and name in OPTIONAL:
        return
    options = check_options(parts, model, {} if table is None else table, (name,))
    if options is not None:
        parts.tables[name] = options


def check_options(parts: Parts, model: type[T], table: Any, path: KeyPath) -> T | None:
    """A table as options of a kind, or None and its mistakes noted."""
    if not isinstance(table, Mapping):
        parts.wrong(path, "must be a table", f"write [{dotted(path)}]")
        return None
    options, said = validate(model, table)
    for below, message, hint in said:
        parts.wrong((*path, *below), message, hint)
    return options if isinstance(options, model) else None


def check_backbone_and_routing(parts: Parts) -> None:
    """The two tables that name one plugin each; the backbone must be there."""
    data = parts.layers.data
    if "backbone" in data:
        parts.backbone = check_choice(parts, "backbone", ("backbone",), data["backbone"])
    else:
        parts.wrong(
            ("backbone",), "is missing", f"add [backbone] with the name of a plugin: {known(parts, 'backbone')}"
        )
    if "routing" in data:
        parts.routing = check_choice(parts, "routing", ("routing",), data["routing"])


def check_views(parts: Parts) -> None:
    """The view groups: those cut from the picture, and those mixed from another group."""
    groups = parts.layers.data.get("views", {})
    if not isinstance(groups, Mapping):
        parts.wrong(("views",), "must be a table of view groups", "write [views.global]")
        return
    if not groups:
        parts.wrong(("views",), "is missing", "add a view group, for example [views.global] with augmentation and size")
    for group, table in groups.items():
        choice = check_choice(parts, "augmentation", ("views", group), table, key="augmentation")
        if choice is not None:
            is_mix = isinstance(choice.offer, Augmentation) and choice.offer.mixes
            (parts.mixed if is_mix else parts.views)[group] = choice


def check_losses(parts: Parts) -> None:
    """The losses, in the recipe's order."""
    entries = parts.layers.data.get("loss", [])
    if not isinstance(entries, list):
        parts.wrong(("loss",), "must be an array of tables", "write [[loss]], with two brackets")
        return
    if not entries:
        parts.wrong(("loss",), "is missing", f"add [[loss]] with the name of a plugin: {known(parts, 'loss')}")
    choices = [check_choice(parts, "loss", ("loss", place), table) for place, table in enumerate(entries)]
    parts.losses = [choice for choice in choices if choice is not None]


def check_choice(parts: Parts, kind: str, path: KeyPath, table: Any, *, key: str = "name") -> Choice | None:
    """A plugin that a table names by `key`, with the rest of the table as its options."""
    if not isinstance(table, Mapping):
        parts.wrong(path, "must be a table", "write [[loss]]" if kind == "loss" else f"write [{dotted(path)}]")
        return None
    offer = find_offer(parts, kind, table.get(key), (*path, key))
    if offer is None:
        return None
    options = check_options(parts, offer.options, {k: v for k, v in table.items() if k != key}, path)
    return None if options is None else Choice(offer.name, offer, options, ".".join(map(str, path)))


def find_offer(parts: Parts, kind: str, name: Any, path: KeyPath) -> Offer | None:
    """The offer of a name, or None and the mistake noted."""
    if isinstance(name, str):
        try:
            return parts.registry.find(kind, name)
        except UserError as error:
            parts.wrong(path, error.message, error.hint)
    elif name is None:
        parts.wrong(path, "is missing", f"name a plugin: {known(parts, kind)}")
    else:
        parts.wrong(path, "must be a string, the name of a plugin")
    return None


def known(parts: Parts, kind: str) -> str:
    """The plugins of a kind, for a hint."""
    return ", ".join(parts.registry.names(kind)) or "none is installed"
