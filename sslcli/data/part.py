"""A part of a set to train on, said by a file of JSON: some classes, some rows, or pictures by what they are called.

    {"classes": ["bird", "cat", 7]}                          names of classes, or their numbers
    {"classes": [...], "numbers": [...], "of": 1000}         the names, or in a set of 1000 other names the numbers
    {"rows": [0, 4, 5], "fingerprint": "9f3c…"}              rows of the one set that has this fingerprint
    {"keys": ["birds/a.jpg", ...]}                           paths below the folder

`note` may hold words for a person. A part that ships beside the recipes goes by its name: `moce/imagenet-artifacts`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslcli.data.masks import Mask, Masks
from sslcli.data.source import Source
from sslcli.data.subset import Subset
from sslcli.disk import expand, write_whole
from sslcli.errors import UserError, did_you_mean
from sslcli.recipe.catalogue import list_parts

WITH = {"classes": {"numbers", "of"}, "rows": {"fingerprint", "data"}, "keys": set[str]()}  # what may stand beside each
FORM = 'it holds {"classes": [...]}, {"rows": [...], "fingerprint": "..."} or {"keys": [...]}'
MOST = 1000  # names that a hint is looked for in

Indices = NDArray[np.int64]


class Misfit(Exception):
    """Why a part is no part of a set, and what to do about it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def open_part(reference: str, source: Source) -> Subset:
    """The pictures of a source that a part names, in the order of the source. Raises UserError."""
    path = find_part(reference)
    try:
        indices, remark = chosen(read_part(path), source)
        if not len(indices):
            raise Misfit(f"no picture of {source.spec} is in it", "let it name some, or leave data.part out")
    except Misfit as misfit:
        raise UserError(f"data.part {reference}: {misfit.message}", misfit.hint) from None
    part = Subset(source, indices, f"part {reference}")
    part.said += remark
    return part


def find_part(reference: str) -> Path:
    """The file of a part: `reference` is a path, or the name of one that ships. Raises UserError."""
    path = expand(reference)
    shipped = list_parts()
    found = path if path.is_file() else shipped.get(reference.removesuffix(".json"))
    if found is not None:
        return found
    if path.is_dir():
        raise UserError(f"data.part {reference} is a folder", "to train on a folder, name it as data.train")
    nearby = [str(other) for other in path.parent.glob("*.json")] if path.parent.is_dir() else []
    raise UserError(f"data.part: there is no file {reference}", did_you_mean(reference, [*shipped, *nearby]))


def absolute_part(reference: str) -> str:
    """The same part for whoever stands in another folder."""
    path = expand(reference)
    return str(path.absolute()) if path.is_file() else reference


def read_part(path: Path) -> dict[str, Any]:
    """What a file says, in one of the forms. Raises Misfit."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misfit(f"cannot be read: {error.strerror or error}", "name a file that you may read") from None
    except ValueError as error:
        raise Misfit(f"is not JSON: {error}", FORM) from None
    forms = [form for form in WITH if isinstance(said, dict) and form in said]
    if len(forms) != 1:
        raise Misfit(f"holds {' and '.join(forms)} at once" if forms else "is no part of data", FORM)
    known = WITH[forms[0]] | {"note", forms[0]}
    for key in said.keys() - known:
        raise Misfit(f"holds an unknown '{key}'", did_you_mean(key, known))
    for key in {forms[0], "numbers"} & said.keys():
        if not isinstance(said[key], list) or not all(type(entry) in (str, int) for entry in said[key]):
            raise Misfit(f"'{key}' is no list of names or whole numbers", FORM)
    return dict(said)


def write_rows(path: Path, source: Source, rows: Sequence[int], note: str) -> None:
    """Write a part of some rows of a source. Raises OSError."""
    said = {"note": note, "data": source.spec, "fingerprint": source.fingerprint, "rows": [int(row) for row in rows]}
    write_whole(path, lambda file: file.write_text(json.dumps(said), encoding="utf-8"))


def chosen(said: Mapping[str, Any], source: Source) -> tuple[Indices, str]:
    """The pictures that a part names, rising, each once; and a remark. Raises Misfit."""
    if "rows" in said:
        return rows_of(said, source), ""
    if "keys" in said:
        return keyed(said["keys"], source), ""
    labels = source.labels()
    if labels is None:
        raise Misfit(f"chooses classes, and there are no labels in {source.spec}", 'choose by "keys" or "rows"')
    numbers, remark = class_numbers(said, source)
    return np.flatnonzero(np.isin(labels, numbers)), remark


def rows_of(said: Mapping[str, Any], source: Source) -> Indices:
    """Rows, of the set that they were written for."""
    if said.get("fingerprint") != source.fingerprint:
        other = "is of another set, or the set has changed" if "fingerprint" in said else "does not say of which set"
        raise Misfit(
            f"{other}: rows are those of one set", f'that of {source.spec} is "fingerprint": "{source.fingerprint}"'
        )
    return places(said["rows"], len(source), "rows", "row", "pictures")


def places(numbers: Sequence[Any], count: int, key: str, word: str, of: str) -> Indices:
    """Whole numbers below `count`, sorted, each once. Raises Misfit."""
    those = f"go from 0 to {count - 1}"
    for number in numbers:
        if not isinstance(number, int):
            raise Misfit(f"'{key}' holds '{number}', which is no {word} number", f"{word} numbers {those}")
        if not 0 <= number < count:
            raise Misfit(f"there is no {word} {number}: {count} {of}, counted from 0", f"{word} numbers {those}")
    return np.unique(np.array(numbers, dtype=np.int64))


def keyed(keys: Sequence[Any], source: Source) -> Indices:
    """Pictures by what they are called."""
    if source.by_row:
        raise Misfit(f"names pictures by keys, and those of {source.spec} have none", 'choose by "rows"')
    known = {source.key(index): index for index in range(len(source))}
    for key in keys:
        if key not in known:
            beside = [other for other in known if other.rpartition("/")[0] == str(key).rpartition("/")[0]]
            raise Misfit(f"no picture of {source.spec} is called '{key}'", did_you_mean(str(key), beside[:MOST]))
    return places([known[key] for key in keys], len(source), "keys", "picture", "pictures")


def class_numbers(said: Mapping[str, Any], source: Source) -> tuple[Indices, str]:
    """The numbers of the classes that a part names. Raises Misfit."""
    known = {name: number for number, name in enumerate(source.classes)}
    if "of" in said or "numbers" in said:
        return of_known_set(said, source, known)
    found = [known.get(name, name) for name in said["classes"]]
    for name in found:
        if isinstance(name, str):
            raise Misfit(f"no class of {source.spec} is called '{name}'", did_you_mean(name, known))
    return places(found, len(known), "classes", "class", "classes"), ""


def of_known_set(said: Mapping[str, Any], source: Source, known: Mapping[str, int]) -> tuple[Indices, str]:
    """Classes of a well-known set: by name, as far as they are there, with a remark; else by number. Raises Misfit."""
    wanted = said["classes"]
    named = [known[name] for name in wanted if name in known]
    if named:
        remark = "" if len(named) == len(wanted) else f", in {len(named)} of its {len(wanted)} classes"
        return np.array(named, dtype=np.int64), remark
    if len(known) == said.get("of"):
        return places(said.get("numbers", []), len(known), "numbers", "class", "classes"), ""
    raise Misfit(
        f"no class of {source.spec} has a name such as '{next(iter(wanted), '')}', and there are {len(known)} classes",
        f"by number it fits sets of {said.get('of')} classes",
    )


class PartOfMasks:
    """The masks of a part, out of those of the whole set."""

    def __init__(self, masks: Masks, part: Subset) -> None:
        self.masks, self.indices = masks, part.indices
        self.said, self.fingerprint = masks.said, masks.fingerprint

    def mask(self, index: int, width: int, height: int) -> Mask | None:
        """The mask of a picture of this size; None where there is none that is of use. Raises BrokenMask."""
        return self.masks.mask(int(self.indices[index]), width, height)
