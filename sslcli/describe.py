"""The options of a plugin in words: what each takes, what it is when left out, and what it is for."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sslcli.api import Options

WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "string",
    "boolean": "true or false",
    "object": "table",
}
LIMITS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "more than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
)
COMMENT = re.compile(r"^\s+(?P<name>[a-z_]\w*)\s*:.*\s{2}# (?P<text>.+)$")

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Option:
    """One option: its name, what it takes, its default as plain data (None where there is none), what it is for."""

    name: str
    takes: str
    required: bool
    default: Any
    about: str


def describe(options: type[Options]) -> list[Option]:
    """The options of a model in the order in which it defines them."""
    schema = options.model_json_schema(mode="serialization")
    comments = dict(comments_of(options))
    return [
        Option(
            name,
            takes=in_words(schema["properties"][name], schema.get("$defs", {})),
            required=field.is_required(),
            default=schema["properties"][name].get("default"),
            about=field.description or comments.get(name, ""),
        )
        for name, field in options.model_fields.items()
    ]


def comments_of(options: type[Options]) -> Iterator[tuple[str, str]]:
    """Option and the comment at the end of its line, from the sources of the class and of those it derives from."""
    for model in reversed(options.__mro__):
        if not issubclass(model, Options):
            continue
        try:
            lines = inspect.getsource(model).splitlines()
        except (OSError, TypeError):  # made in an interpreter, or of C
            continue
        for found in filter(None, map(COMMENT.match, lines)):
            yield found["name"], found["text"]


def in_words(schema: Json, definitions: Json) -> str:
    """What a value may be: `whole number, at least 1`, `"cosine" or "linear"`."""
    if "$ref" in schema:
        return in_words(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(in_words(branch, definitions) for branch in branches))
    if "enum" in schema or "const" in schema:
        return " or ".join(quoted(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return array_in_words(schema, definitions)
    kind = WORDS.get(schema.get("type", ""), "anything")
    if "minimum" in schema and "maximum" in schema:
        return f"{kind} from {in_full(schema['minimum'])} to {in_full(schema['maximum'])}"
    return ", ".join([kind, *(f"{word} {in_full(schema[key])}" for key, word in LIMITS if key in schema)])


def in_full(limit: float) -> str:
    """A limit as one would type it: every digit of a whole number, and no `.0`."""
    return str(int(limit)) if limit == int(limit) else f"{limit:g}"


def array_in_words(schema: Json, definitions: Json) -> str:
    """`array of 2: number`, `array of string`."""
    first = schema.get("prefixItems", [schema.get("items", {})])[0]
    count = f" {len(schema['prefixItems'])}:" if "prefixItems" in schema else ""
    return f"array of{count} {in_words(first, definitions)}"


def quoted(value: Any) -> str:
    """A value as TOML writes it, as far as words and numbers go."""
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
