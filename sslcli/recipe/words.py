"""What pydantic says of a table, in plain words: `must be a whole number, not a string`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sslcli.api import Options
from sslcli.errors import did_you_mean
from sslcli.recipe.keys import KeyPath, holds, reach

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "list_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
LIMITS = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "string_too_short": "must have at least {min_length} letters",
    "string_too_long": "must have at most {max_length} letters",
    "string_pattern_mismatch": "must match the pattern {pattern}",
}
SIZES = {
    "too_short": "must have at least {min_length} values, not {actual_length}",
    "too_long": "must have at most {max_length} values, not {actual_length}",
    "finite_number": "must be a finite number",
    "missing": "is missing",
    "extra_forbidden": "unknown option",
}

Said = tuple[KeyPath, str, str]  # where, relative to the table; what is wrong; how to mend it


def validate(model: type[Options], table: Mapping[str, Any]) -> tuple[Options | None, list[Said]]:
    """The table as checked options, or None and everything that is wrong with it."""
    try:
        return model.model_validate(table), []
    except ValidationError as error:
        return None, [say(model, table, group) for group in grouped(error.errors(include_url=False), table)]


def grouped(errors: Iterable[ErrorDetails], table: Any) -> Iterator[tuple[KeyPath, list[ErrorDetails]]]:
    """Errors with their paths; those by which the branches of one union refuse a value come together."""
    unions: dict[KeyPath, list[tuple[KeyPath, ErrorDetails]]] = {}
    for error in errors:
        path, union = locate(error, table)
        if union is None:
            yield path, [error]
        else:
            unions.setdefault(union, []).append((path, error))
    for union, found in unions.items():
        closer = [(path, error) for path, error in found if path != union or not is_mismatch(error)]
        yield from ((path, [error]) for path, error in closer)
        if not closer:
            yield union, [error for _, error in found]


def locate(error: ErrorDetails, table: Any) -> tuple[KeyPath, KeyPath | None]:
    """Where an error is in the data, and at which union when pydantic names a branch of one on the way."""
    path: KeyPath = ()
    union: KeyPath | None = None
    *others, last = error["loc"] or (None,)
    for part in [part for part in (*others, last) if part is not None]:
        if holds(table, part):
            path, table = (*path, part), table[part]
        elif part is last and error["type"] == "missing" and not isinstance(part, int):
            path = (*path, part)
        elif isinstance(part, str):
            union = path
    return path, union


def is_mismatch(error: ErrorDetails) -> bool:
    """Whether the value is not of the kind that a branch takes, as opposed to out of its range."""
    return error["type"] in EXPECTED or error["type"] == "literal_error"


def say(model: type[Options], table: Mapping[str, Any], found: tuple[KeyPath, list[ErrorDetails]]) -> Said:
    """One mistake in plain words."""
    path, errors = found
    first = errors[0]
    if first["type"] == "extra_forbidden":
        return path, SIZES["extra_forbidden"], did_you_mean(str(path[-1]), fields_at(model, path[:-1]))
    if not all(map(is_mismatch, errors)):
        return path, describe(first), ""
    value = at(table, path)
    expected = list(dict.fromkeys(filter(None, map(expectation, errors))))
    literals = [word for error in errors if error["type"] == "literal_error" for word in words_in(expectation(error))]
    shown = f"'{value}'" if literals and isinstance(value, str) else kind_of(value)
    return path, f"must be {' or '.join(expected)}, not {shown}", hint_for(value, expected, literals)


def describe(error: ErrorDetails) -> str:
    """An error that is not about the kind of a value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing" and isinstance(error["loc"][-1], int):
        return "has too few values"
    if kind in LIMITS:
        limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in context.items()}
        return f"{LIMITS[kind].format(**limits)}, not {error['input']}"
    if kind in SIZES:
        return SIZES[kind].format(**context)
    reason = str(context["error"]) if "error" in context else error["msg"]
    return reason[:1].lower() + reason[1:]


def expectation(error: ErrorDetails) -> str:
    """What would have been right: `a whole number`, `'auto'`."""
    return EXPECTED.get(error["type"]) or str(error.get("ctx", {}).get("expected", ""))


def words_in(said: str) -> list[str]:
    """The words within quotes: `auto` of `'auto'`."""
    return re.findall(r"'([^']*)'", said)


def kind_of(value: Any) -> str:
    """A value as a person would name it: its kind, or itself when it is short and plain."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    kinds: dict[type, str] = {str: "a string", list: "an array", dict: "a table"}
    return next((word for kind, word in kinds.items() if isinstance(value, kind)), "a date or time")


def hint_for(value: Any, expected: list[str], literals: list[str]) -> str:
    """How to write what was probably meant."""
    if not isinstance(value, str):
        return f'write "{kind_of(value)}", within quotes' if expected == ["a string"] and is_scalar(value) else ""
    if "number" in " ".join(expected) and re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value):
        return f"write {value}, without quotes"
    if "true or false" in expected and value.lower() in ("true", "false"):
        return f"write {value.lower()}, without quotes"
    return did_you_mean(value, literals) if literals else ""


def is_scalar(value: Any) -> bool:
    """Whether a value is a number or a truth."""
    return isinstance(value, int | float)


def at(data: Any, path: KeyPath) -> Any:
    """The value at a path, or None."""
    if not reach(data, path):
        return None
    for part in path:
        data = data[part]
    return data


def fields_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The options that the table at a path knows."""
    models = [model]
    for part in path:
        if isinstance(part, str):
            fields = [known.model_fields[part] for known in models if part in known.model_fields]
            models = [inner for field in fields for inner in models_in(field.annotation)]
    return [name for known in models for name in known.model_fields]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models inside an annotation such as `tuple[Freeze, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
