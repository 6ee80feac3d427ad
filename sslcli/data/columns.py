"""Which column of a table holds the pictures, and which the labels."""

from collections.abc import Iterator, Sequence
from typing import Any

from datasets import ClassLabel, Features, Image, Value

from sslcli.data.walk import ENDINGS
from sslcli.errors import UserError

Column = tuple[str, ...]  # a column, or a column and a field in it

ENDING_NAMES = tuple(sorted(ending.decode() for ending in ENDINGS))
PICTURE_NAMES = ("image", "img", "picture", "photo", "bytes", *ENDING_NAMES)
LABEL_NAMES = ("label", "labels", "cls", "class", "fine_label")
BINARY = ("binary", "large_binary")
WHOLE_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LABEL_TYPES = (*WHOLE_NUMBERS, "string", "large_string", "bool")
NARROWER = "keep one of them with datasets' select_columns(…).save_to_disk(PATH), and name that as disk:PATH"


def picture_column(features: Features, spec: str) -> str:
    """The column that holds pictures: by its type, or by its name where it holds bytes. Raises UserError."""
    typed = [(name,) for name, feature in features.items() if isinstance(feature, Image)]
    named = [(name,) for name, feature in features.items() if name.lower() in PICTURE_NAMES and holds_bytes(feature)]
    column = the_one(typed or named, ("image",), f"columns of pictures in {spec}")
    if column is None:
        hint = "pictures are columns of the type Image, or of bytes and named image, jpg, png, …"
        raise UserError(f"no column of pictures in {spec}; its columns are {', '.join(features) or 'none'}", hint)
    return column[0]


def label_column(features: Features, spec: str) -> Column | None:
    """The column, or field of a column, that holds the classes; None when there is none. Raises UserError."""
    fields = {column: feature for column, feature in fields_of(features) if is_label(feature)}
    named = [column for column in fields if column[-1].lower() in LABEL_NAMES]
    typed = [column for column, feature in fields.items() if isinstance(feature, ClassLabel)]
    found = [column for column in named if len(column) == 1] or named or typed
    return the_one(found, ("label",), f"columns of labels in {spec}")


def the_one(found: Sequence[Column], plain: Column, what: str) -> Column | None:
    """The only column that was found, or among several the one with the plain name. Raises UserError."""
    if len(found) > 1 and plain not in found:
        raise UserError(f"several {what}: {', '.join('.'.join(column) for column in found)}", NARROWER)
    return plain if plain in found else next(iter(found), None)


def fields_of(features: Features) -> Iterator[tuple[Column, Any]]:
    """Every column, and every field of a column that is a struct (WebDataset's JSON)."""
    for name, feature in features.items():
        yield (name,), feature
        if isinstance(feature, dict):
            yield from (((name, field), inner) for field, inner in feature.items())


def holds_bytes(feature: Any) -> bool:
    """Whether a column holds encoded files: bytes, or a struct with a field of bytes."""
    inner = feature.get("bytes") if isinstance(feature, dict) else feature
    return isinstance(inner, Value) and inner.dtype in BINARY


def is_label(feature: Any) -> bool:
    """Whether a column can hold classes: class labels, whole numbers or words."""
    return isinstance(feature, ClassLabel) or (isinstance(feature, Value) and feature.dtype in LABEL_TYPES)
