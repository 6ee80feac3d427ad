"""A recipe as it is written: TOML files that extend one another, merged, with every key's origin remembered."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.recipe.catalogue import catalogue_folder, find_recipe, in_catalogue
from sslcli.recipe.keys import KeyPath
from sslcli.recipe.mistakes import Mistake, Origin, RecipeError

OWN_KEYS = ("extends", "name")  # of the file that says them, never inherited


@dataclass
class Layers:
    """TOML data put together of several origins, the last word counting."""

    own: Origin  # the recipe itself
    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    chosen: str = ""  # the name that the recipe gets when it says none

    def origin(self, path: KeyPath) -> Origin:
        """Who said a key, or the table around it when nobody said the key."""
        known = (self.origins[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self.origins)
        return next(known, self.own)

    def mistake(self, path: KeyPath, message: str, hint: str = "") -> Mistake:
        """A mistake at a key, on the account of who said it."""
        return Mistake(self.origin(path), path, message, hint)

    def put(self, table: Mapping[str, Any], origin: Origin, at: KeyPath = (), into: Any = None) -> None:
        """Merge a table in: tables key by key, everything else replaced as a whole.

        A table that names another plugin than before starts afresh, for it is the other plugin's options that follow.
        """
        target = self.data if into is None else into
        for key, value in table.items():
            path = (*at, key)
            old = target.get(key)
            if isinstance(value, Mapping) and isinstance(old, dict) and not names_another(path, old, value):
                self.put(value, origin, path, old)
            else:
                target[key] = plain(value)
                self.claim(path, value, origin)

    def claim(self, path: KeyPath, value: Any, origin: Origin) -> None:
        """Remember that everything at and below a path was said by one origin."""
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        self.origins |= dict.fromkeys(paths_below(path, value), origin)


def names_another(path: KeyPath, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the table of a plugin changes from one plugin to another."""
    key = plugin_key(path)
    return bool(key) and key in old and key in new and old[key] != new[key]


def plugin_key(path: KeyPath) -> str:
    """The key by which the table at a path names its plugin; empty when it is no plugin's table."""
    if path in (("backbone",), ("routing",)) or (len(path) == 2 and path[0] == "loss"):
        return "name"
    return "augmentation" if len(path) == 2 and path[0] == "views" else ""


def plain(value: Any) -> Any:
    """A copy of TOML data that can be changed: tables as dicts, arrays as lists."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def paths_below(path: KeyPath, value: Any) -> Iterator[KeyPath]:
    """A path and all paths of the value there."""
    yield path
    parts: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from paths_below((*path, key), part)


def read_layers(reference: str | Path) -> Layers:
    """A recipe file and all that it extends, merged."""
    path = find_recipe(reference)
    text, data = read_toml(path, rank=0)
    layers = stack(data, Origin(shown(path), text), path)
    layers.chosen = name_for(path)
    return layers


def name_for(path: Path) -> str:
    """The name of a recipe that says none, fit for a folder: `mae-tiny` in the catalogue, the file's own elsewhere."""
    folder = catalogue_folder()
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    return re.sub(r"[^\w.-]+", "-", name.removesuffix(".toml")).strip(".-") or "recipe"


def stack(data: Mapping[str, Any], origin: Origin, path: Path) -> Layers:
    """Data of a recipe over what it extends, the furthest first."""
    chain = [(data, origin, path)]
    while "extends" in chain[-1][0]:
        chain.append(extended(chain))
    layers = Layers(origin)
    for said, by, place in reversed(chain):
        inherited = said if by is origin else {key: said[key] for key in said if key not in OWN_KEYS}
        layers.put(with_absolute_plugins(inherited, place), by)
    return layers


def extended(chain: list[tuple[Mapping[str, Any], Origin, Path]]) -> tuple[Mapping[str, Any], Origin, Path]:
    """The recipe that the last one of a chain extends."""
    data, origin, path = chain[-1]
    reference = data["extends"]
    if not isinstance(reference, str):
        raise RecipeError([Mistake(origin, ("extends",), "must be a string: the name or the path of a recipe")])
    try:
        base = find_base(reference, path)
    except UserError as error:
        raise RecipeError([Mistake(origin, ("extends",), f"leads nowhere: {error.message}", error.hint)]) from None
    circle = [shown(place) for _, _, place in chain]
    if base.resolve() in [place.resolve() for _, _, place in chain]:
        message = f"makes a circle: {' -> '.join([*circle, shown(base)])}"
        raise RecipeError([Mistake(origin, ("extends",), message, "one of them must not extend another")])
    text, said = read_toml(base, rank=len(chain))
    return said, Origin(shown(base), text, rank=len(chain)), base


def find_base(reference: str, path: Path) -> Path:
    """What a recipe at `path` means by `extends`: a file beside it, or a recipe of the catalogue."""
    beside = Path(os.path.normpath(path.parent.resolve() / expand(reference)))
    if beside.is_file():
        return beside
    return in_catalogue(reference) or find_recipe(beside if reference.endswith(".toml") else reference)


def read_toml(path: Path, rank: int) -> tuple[str, dict[str, Any]]:
    """A TOML file's text and data; what is not TOML is a mistake at its line."""
    try:
        text = path.read_bytes().decode("utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}", "name a file that you may read") from None
    except UnicodeDecodeError:
        raise UserError(f"'{path}' is not text in UTF-8", "is it a recipe? save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        message, line = syntax_error(str(error), text)
        raise RecipeError([Mistake(Origin(shown(path), rank=rank), (), message, line=line)]) from None


def syntax_error(said: str, text: str) -> tuple[str, int]:
    """What tomllib says of a text, in our manner, and the line."""
    message, _, place = said.partition(" (at ")
    line = re.search(r"line (\d+)", place)
    return f"not TOML: {message[:1].lower()}{message[1:]}", int(line[1]) if line else max(len(text.splitlines()), 1)


def with_absolute_plugins(data: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The same data with the files in `plugins` taken from the folder of the recipe that names them."""
    files = data.get("plugins")
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        return data
    folder = path.parent.resolve()
    return {**data, "plugins": [str(Path(os.path.normpath(folder / expand(file)))) for file in files]}


def shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)
