"""A data SPEC to its pictures: a folder, `hf:NAME[:config]`, `parquet:GLOB`, `wds:GLOB`, `disk:PATH` or `demo`.

Each may end in `@split`. A scheme is a function from what follows the colon to the splits that there are.
"""

import re
from collections.abc import Callable
from pathlib import Path

from sslcli.data.folder import folder_splits
from sslcli.data.openers import demo_splits, disk_splits, hub_splits, parquet_splits, webdataset_splits
from sslcli.data.pictures import DEFAULT_MEGAPIXELS
from sslcli.data.source import Source, Splits
from sslcli.data.splits import choose
from sslcli.data.walk import ENDINGS
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean

__all__ = ["Source", "Splits", "absolute", "open_source", "split_named", "splits_of"]

SCHEMES: dict[str, Callable[..., Splits]] = {
    "disk": disk_splits,
    "hf": hub_splits,
    "parquet": parquet_splits,
    "wds": webdataset_splits,
}
KINDS = "data are a folder of pictures, hf:NAME, parquet:GLOB, wds:GLOB, disk:PATH or demo"
FILE_HINTS = {
    "parquet": "for a parquet file: 'parquet:{spec}'",
    "tar": "for a WebDataset shard: 'wds:{spec}'",
    "zip": "unpack it, and name the folder",
    "gz": "unpack it, and name the folder",
}


def open_source(spec: str, split: str = "train", *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Source:
    """The pictures that a data SPEC names; an `@split` in it wins over `split`. Raises UserError."""
    name, chosen = split_named(spec)
    splits = splits_of(name, max_megapixels=max_megapixels)
    return splits[choose(splits, chosen or split, name)]()


def split_named(spec: str) -> tuple[str, str]:
    """A SPEC without its `@split`, and that split, or nothing; an existing folder may have an @ in its name."""
    found = re.fullmatch(r"(.+)@([\w.:+%\[\]-]+)", spec)
    if not found or expand(spec).exists():
        return spec, ""
    return found[1], found[2]


def splits_of(spec: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Splits:
    """The splits of a SPEC without `@split`. Raises UserError."""
    if spec == "demo":
        return demo_splits(max_megapixels=max_megapixels)
    scheme, colon, rest = spec.partition(":")
    if colon and scheme in SCHEMES:
        if not rest:
            raise UserError(f"nothing follows the colon in the data '{spec}'", f"such as {scheme}:PATH")
        return SCHEMES[scheme](rest, spec, max_megapixels=max_megapixels)
    if not spec or not expand(spec).is_dir():
        raise no_folder(spec)
    return folder_splits(spec, max_megapixels=max_megapixels)


def absolute(spec: str) -> str:
    """The same SPEC for whoever stands in another folder."""
    name, split = split_named(spec)
    if split:
        return f"{absolute(name)}@{split}"
    scheme, colon, rest = spec.partition(":")
    if not spec or spec == "demo":
        return spec
    if not (colon and scheme in SCHEMES):
        return str(expand(spec).absolute())
    on_disk = scheme != "hf" or expand(rest).exists()
    return f"{scheme}:{expand(rest).absolute()}" if on_disk else spec


def no_folder(spec: str) -> UserError:
    """What is wrong with a SPEC that has no known scheme and is no folder."""
    if not spec:
        return UserError("no data are named", KINDS)
    path = expand(spec)
    if path.exists():
        return UserError(f"{spec} is a file, not a folder of pictures", file_hint(path, spec))
    scheme, colon, _ = spec.partition(":")
    if colon and re.fullmatch(r"\w{2,}", scheme):
        return UserError(f"unknown scheme '{scheme}' in the data '{spec}'", did_you_mean(scheme, [*SCHEMES, "demo"]))
    return UserError(f"no folder {spec}", nearby(path, spec))


def file_hint(path: Path, spec: str) -> str:
    """What to write instead of a file."""
    ending = path.name.rpartition(".")[2].lower()
    if ending.encode() in ENDINGS:
        return f"name the folder it lies in: {path.parent}"
    return FILE_HINTS.get(ending, "name a folder, or a SPEC such as parquet:GLOB").format(spec=spec)


def nearby(path: Path, spec: str) -> str:
    """What may have been meant by a folder that is not there."""
    try:
        names = [entry.name for entry in path.absolute().parent.iterdir() if entry.is_dir()]
    except OSError:
        names = []
    close = did_you_mean(path.name, [*names, "demo"])
    if close.startswith("did you mean"):
        return close
    return f"for a set of the Hub: hf:{spec}" if re.fullmatch(r"\w[\w.-]*/[\w.-]+", spec) else KINDS
