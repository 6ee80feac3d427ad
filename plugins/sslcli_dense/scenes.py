"""Pictures with labels of their pixels, in a folder.

DIR/images/a.jpg          DIR/labels/a.png            one set: a fifth of it is held out, by the seed
DIR/images/train/a.jpg    DIR/labels/train/a.png      a divided one, with images/val or images/test beside
DIR/classes.txt           the names of the classes, one a line
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from sslcli.data.folder import folder_splits
from sslcli.data.judged import stratified
from sslcli.data.masks import found_file, mask_file
from sslcli.data.pictures import DEFAULT_MEGAPIXELS, BrokenPicture
from sslcli.data.source import Source
from sslcli.data.splits import WHOLE, choose, role_of
from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.words import counted
from sslcli_dense.labels import Label, read_label

LAYOUT = "DATA is a folder with images/ and labels/: to images/dir/a.jpg belongs labels/dir/a.png"
LABELS = ("labels", "annotations")

Scene = tuple[int, NDArray[np.uint8], Label]  # where it stands, the picture uint8 [S, S, 3], and its label [H, W]


@dataclass(frozen=True)
class Part:
    """Some pictures `indices [M]` of a source, and the folder of their labels."""

    source: Source
    labels: Path
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Scenes:
    """A part to learn from and a part to be tested on, what they are in words, and the names of classes, if any."""

    train: Part
    test: Part
    said: str
    names: tuple[str, ...]


def open_scenes(data: str, seed: int) -> Scenes:
    """The pictures and labels in a folder. Raises UserError."""
    root = expand(data)
    labels = next((root / name for name in LABELS if (root / name).is_dir()), None)
    if not root.is_dir() or not (root / "images").is_dir() or labels is None:
        missing = root if not root.is_dir() else root / ("images" if labels else "labels")
        raise UserError(f"no folder {missing}", LAYOUT)
    splits = folder_splits(str(root / "images"), max_megapixels=DEFAULT_MEGAPIXELS)
    part = partial(whole_part, labels=labels)
    first = choose(splits, "train", data)
    train = part(splits[first](), split=first)
    tests = [name for role in ("validation", "test") for name in splits if role_of(name) == role]
    test = next((name for name in tests if (labels / name).is_dir()), None)
    if test is None:
        return divided(train, data, seed, class_names(root))
    other = part(splits[test](), split=test)
    many, few = counted(len(train), "picture"), counted(len(other), "picture")
    said = f"{data}: learnt on {first} ({many}), tested on {test} ({few})"
    return Scenes(train, other, said, class_names(root))


def whole_part(source: Source, labels: Path, split: str) -> Part:
    """All pictures of a source, each with its label. Raises UserError for pictures without one."""
    folder = labels if split == WHOLE else labels / split
    bare = [index for index in range(len(source)) if found_file(folder, source.key(index)) is None]
    if bare:
        expected = mask_file(folder, str(Path(source.key(bare[0])).with_suffix("")))
        raise UserError(
            f"{len(bare)} of {len(source)} pictures have no label; that of {source.name(bare[0])} would be {expected}",
            LAYOUT,
        )
    return Part(source, folder, np.arange(len(source)))


def divided(whole: Part, data: str, seed: int, names: tuple[str, ...]) -> Scenes:
    """A fifth of a part held out. Raises UserError where there are too few pictures."""
    held = stratified(np.zeros(len(whole), np.int64), seed)
    if not held.any():
        raise UserError(f"too few pictures in {data} to hold some out", "two at least are needed, better hundreds")
    said = f"{data}: a fifth is held out to test on ({int(held.sum())} of {len(held)} pictures, seed {seed})"
    train, test = (Part(whole.source, whole.labels, np.flatnonzero(chosen)) for chosen in (~held, held))
    return Scenes(train, test, said, names)


def class_names(root: Path) -> tuple[str, ...]:
    """The lines of classes.txt; none where there is no such file."""
    file = root / "classes.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()


class Shown(Dataset[Scene | BrokenPicture | UserError]):
    """The scenes of a part, the whole picture squeezed into a square; what went wrong comes as the error."""

    def __init__(self, part: Part, side: int) -> None:
        self.part, self.side = part, side

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, number: int) -> Scene | BrokenPicture | UserError:
        index = int(self.part.indices[number])
        try:
            return self.scene(index)
        except (BrokenPicture, UserError) as error:
            return error

    def scene(self, index: int) -> Scene:
        """A picture and its label. Raises BrokenPicture and UserError."""
        source = self.part.source
        picture = source.image(index)
        file = found_file(self.part.labels, source.key(index))
        if file is None:
            raise BrokenPicture(source.name(index), "its label is gone")
        label = read_label(file)
        if label.shape != (picture.height, picture.width):
            raise UserError(
                f"{file} is {label.shape[1]}x{label.shape[0]}, its picture {picture.width}x{picture.height}",
                "a label has a number for every pixel of its picture",
            )
        seen = picture.resize((self.side, self.side), Image.Resampling.BICUBIC)
        return index, np.asarray(seen), label
