"""`--set a.b=c`: one key of a recipe changed from the command line.

The left side is a dotted TOML key; an entry of an array of tables is addressed by its place or by its name:
`loss.0.weight`, `loss.simclr.temperature`, `loss."mugs.instance".weight` (the quotes may be left out). The right side
is TOML: `2`, `0.5`, `true`, `"text"`, `[1, 2]`, `{start = 0.99, end = 1}`. What is not TOML and does not begin like a
string, an array or a table is taken as a string as it stands, so `data.train=hf:cifar10` needs no quotes.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sslcli.errors import did_you_mean
from sslcli.recipe.keys import KeyPath, dotted
from sslcli.recipe.layers import Layers, names_another, plugin_key
from sslcli.recipe.mistakes import Mistake, Origin

FIRST_RANK = 1_000_000  # after every file
UNFINISHED = ('"', "'", "[", "{")


class Refused(Exception):
    """What is wrong with a flag: a message and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Override:
    """A parsed `--set`."""

    origin: Origin
    keys: tuple[str, ...]
    value: Any


def apply_overrides(layers: Layers, flags: Sequence[str]) -> list[Mistake]:
    """Put the flags over a recipe in their order, those that choose a plugin first; the flags that make no sense."""
    overrides, mistakes = parse_overrides(flags)
    for override in sorted(overrides, key=lambda override: not chooses_plugin(override.keys)):
        try:
            assign(layers, resolve(layers.data, override.keys), override)
        except Refused as refused:
            mistakes.append(Mistake(override.origin, (), refused.message, refused.hint))
    return mistakes


def chooses_plugin(keys: tuple[str, ...]) -> bool:
    """Whether a flag names a plugin, as `backbone.name=resnet` does: its options must come after it."""
    return bool(keys) and keys[-1] == (plugin_key(keys[:-1]) or None)


def parse_overrides(flags: Sequence[str]) -> tuple[list[Override], list[Mistake]]:
    """The flags, and what is wrong with those that cannot be read."""
    overrides, mistakes = [], []
    for place, flag in enumerate(flags):
        origin = Origin(f"--set {flag}", rank=FIRST_RANK + place)
        try:
            keys, text = split_flag(flag)
            overrides.append(Override(origin, keys, parse_value(text)))
        except Refused as refused:
            mistakes.append(Mistake(origin, (), refused.message, refused.hint))
    return overrides, mistakes


def split_flag(flag: str) -> tuple[tuple[str, ...], str]:
    """`a."b=c".d=e` to its keys and the text of its value: at the first `=` that leaves a whole TOML key before it."""
    for place in [place for place, letter in enumerate(flag) if letter == "="]:
        try:
            nested = tomllib.loads(f"{flag[:place].strip()} = 0")
        except tomllib.TOMLDecodeError:
            continue
        return tuple(keys_of(nested)), flag[place + 1 :].strip()
    raise Refused("is not of the form key=value", "for example --set train.epochs=5")


def keys_of(nested: Any) -> list[str]:
    """The keys down to the only value of nested tables."""
    keys = []
    while isinstance(nested, dict):
        ((key, nested),) = nested.items()
        keys.append(key)
    return keys


def parse_value(text: str) -> Any:
    """A TOML value, or the text itself when it is a plain word, such as a path."""
    if not text:
        raise Refused("has no value", "an empty string is written '\"\"', within quotes of the shell")
    try:
        data = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError as error:
        if text.startswith(UNFINISHED) or not text.isprintable():
            raise Refused(f"the value is not TOML: {error}", "put the whole flag into quotes of the shell") from None
        return text
    if list(data) != ["value"]:
        raise Refused("the value is more than one value", "give each key a --set of its own")
    return data["value"]


def resolve(data: Any, keys: tuple[str, ...]) -> KeyPath:
    """The path that the keys of a flag mean, entries of arrays as places."""
    if keys[0] == "extends":
        raise Refused("a flag cannot extend a recipe", "name that recipe instead, or write extends into a file")
    path: KeyPath = ()
    while keys:
        if isinstance(data, list):
            place, keys = find_entry(data, path, keys)
            path, data = (*path, place), data[place]
        elif isinstance(data, dict):
            path, data, keys = (*path, keys[0]), data.get(keys[0], {}), keys[1:]
        else:
            raise Refused(f"{dotted(path)} is not a table")
    return path


def assign(layers: Layers, path: KeyPath, override: Override) -> None:
    """Put one value into the merged recipe, tables made on the way where there are none."""
    node: Any = layers.data
    for length, part in enumerate(path[:-1], start=1):
        if isinstance(node, dict) and part not in node:
            layers.put({str(part): {}}, override.origin, path[: length - 1], node)
        node = node[part]
    last = path[-1]
    if isinstance(last, int):
        node[last] = override.value
        layers.claim(path, override.value, override.origin)
    else:
        start_afresh(layers, path[:-1], node, {last: override.value})
        layers.put({last: override.value}, override.origin, path[:-1], node)


def start_afresh(layers: Layers, path: KeyPath, node: dict[str, Any], said: dict[str, Any]) -> None:
    """Empty the table of a plugin when another plugin is named for it."""
    if names_another(path, node, said):
        node.clear()
        layers.claim(path, node, layers.origin(path))


def find_entry(entries: list[Any], path: KeyPath, keys: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """The place in an array that the first of `keys` means, by number or by name, and the keys left."""
    if keys[0].isdecimal():
        if int(keys[0]) < len(entries):
            return int(keys[0]), keys[1:]
        raise Refused(f"{dotted(path)} has no entry {keys[0]}: there are {len(entries)}, counted from 0")
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    for length in range(len(keys), 0, -1):  # names have dots: loss.mugs.instance.weight
        name = ".".join(keys[:length])
        if names.count(name) > 1:
            raise Refused(f"{dotted(path)} has {names.count(name)} entries named '{name}'", "say which by its number")
        if name in names:
            return names.index(name), keys[length:]
    known = [str(name) for name in names if name]
    raise Refused(f"{dotted(path)} has no entry named '{keys[0]}'", did_you_mean(".".join(keys[:-1] or keys), known))
