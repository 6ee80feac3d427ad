"""A folder of pictures: with or without class folders, nested, in any mixture of formats."""

import os
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from sslcli.data.fingerprint import ends_of, fingerprint, spread
from sslcli.data.pictures import printable, read_picture
from sslcli.data.source import Splits
from sslcli.data.splits import WHOLE, divided, role_of
from sslcli.data.walk import Index, Walk, entries_of, index_of
from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.words import counted

HINTS = {  # what a folder without pictures may hold instead
    b"parquet": "for parquet files: 'parquet:{root}/**/*.parquet'",
    b"tar": "for WebDataset shards: 'wds:{root}/**/*.tar'",
    b"arrow": "for a set saved by datasets: 'disk:{root}'",
    b"zip": "unpack the zip files first",
}


class FolderSource:
    """The pictures below one folder, by their index on disk; the class is the first folder level."""

    by_row = False

    def __init__(self, spec: str, root: Path, index: Index, *, ignored: str = "", max_megapixels: float) -> None:
        self.spec = spec
        self.root = root
        self.index = index
        self.said = f"{spec}: {counted(index.count, 'picture')}{in_classes(len(index.classes))}{ignored}"
        self.max_megapixels = max_megapixels

    @cached_property
    def fingerprint(self) -> str:
        """Covers all names below the root and the sizes of the files, and the ends of some pictures."""
        sampled = [ends_of(self.path(index)) for index in spread(len(self))]
        return fingerprint([self.index.digest, *sampled])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the class folders, sorted."""
        return self.index.classes

    @cached_property
    def table(self) -> pa.Table:
        """The index, mapped into memory."""
        return pa.ipc.open_file(pa.memory_map(str(self.index.file))).read_all()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "table"}

    def __len__(self) -> int:
        return self.index.count

    def image(self, index: int) -> Image.Image:
        """One picture, upright and RGB. Raises BrokenPicture."""
        return read_picture(self.path(index), max_megapixels=self.max_megapixels)

    def path(self, index: int) -> Path:
        """Where a picture lies."""
        return self.root / self.key(index)

    def name(self, index: int) -> str:
        """The path of a picture, as it can be shown."""
        return printable(self.path(index))

    def key(self, index: int) -> str:
        """The path of a picture below the root."""
        return os.fsdecode(self.table.column("path")[int(index)].as_py())

    def labels(self) -> NDArray[np.int64] | None:
        """The class folder of each picture, `[N]`, -1 outside of them; None when there are no class folders."""
        if not self.classes:
            return None
        return np.asarray(self.table.column("label").to_numpy(), dtype=np.int64)


def in_classes(count: int) -> str:
    """` in 3 classes`, or nothing without classes."""
    return f" in {count} class{'es' if count > 1 else ''}" if count else ""


def folder_splits(spec: str, *, max_megapixels: float) -> Splits:
    """The splits of a folder: its train/ and test|val|valid|validation/ folders, or all of it. Raises UserError."""
    root = expand(spec).absolute()
    parts = {path.name: path for path in sub_folders(root)}
    roles = {name: role for name in parts if (role := role_of(name))}
    if not (divided(roles.values()) or (len(parts) == 1 and "train" in roles.values())):
        return {WHOLE: partial(open_folder, spec, root, max_megapixels=max_megapixels)}
    return {name: partial(open_folder, f"{spec}@{name}", parts[name], max_megapixels=max_megapixels) for name in roles}


def sub_folders(root: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted. Raises UserError."""
    entries, _ = entries_of(os.fsencode(root))
    return [Path(os.fsdecode(entry.path)) for entry in entries if entry.is_dir() and not entry.name.startswith(b".")]


def open_folder(spec: str, root: Path, *, max_megapixels: float) -> FolderSource:
    """The pictures below a folder. Raises UserError when there are none."""
    walk = Walk(os.fsencode(root))
    index = index_of(walk)
    if not index.count:
        raise UserError(f"no pictures in {root}{walk.ignored}", hint_for(walk, root))
    return FolderSource(spec, root, index, ignored=walk.ignored, max_megapixels=max_megapixels)


def hint_for(walk: Walk, root: Path) -> str:
    """What to do about a folder without pictures."""
    kinds = [hint for ending, hint in HINTS.items() if ending in walk.others_seen]
    return kinds[0].format(root=root) if kinds else "pictures are known by their endings: .jpg, .png, .webp, .tif, …"
