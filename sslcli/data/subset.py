"""Sources made of other sources: a part of the pictures, or the same pictures under other class numbers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sslcli.data.fingerprint import fingerprint
from sslcli.data.source import Source


class Derived:
    """A source made of another one: whatever a subclass does not change is as there."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.spec, self.said, self.fingerprint = source.spec, source.said, source.fingerprint

    @property
    def by_row(self) -> bool:
        """As in the other source."""
        return self.source.by_row

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of the other source, which may have to be read first."""
        return self.source.classes

    def __len__(self) -> int:
        return len(self.source)

    def place(self, index: int) -> int:
        """Where a picture stands in the other source."""
        return index

    def image(self, index: int) -> Image.Image:
        """One picture, upright and RGB. Raises BrokenPicture."""
        return self.source.image(self.place(index))

    def name(self, index: int) -> str:
        """Where a person finds the picture."""
        return self.source.name(self.place(index))

    def key(self, index: int) -> str:
        """What the picture is called in the other source."""
        return self.source.key(self.place(index))

    def labels(self) -> NDArray[np.int64] | None:
        """The class of each picture, `[N]`."""
        return self.source.labels()


class Subset(Derived):
    """Some pictures of a source, `indices` `[M]` of them in this order."""

    def __init__(self, source: Source, indices: NDArray[np.int64], name: str) -> None:
        super().__init__(source)
        self.indices = indices
        self.spec = f"{source.spec} ({name})"
        self.said = f"{self.spec}: {len(indices)} of {len(source)} pictures"
        self.fingerprint = fingerprint([source.fingerprint, indices.astype("<i8").tobytes()])

    def __len__(self) -> int:
        return len(self.indices)

    def place(self, index: int) -> int:
        """Where a picture stands in the whole source."""
        return int(self.indices[index])

    def labels(self) -> NDArray[np.int64] | None:
        """The class of each picture, `[M]`."""
        labels = self.source.labels()
        return None if labels is None else labels[self.indices]


class Relabelled(Derived):
    """The pictures of a source under the class numbers of another: `numbers[old]` is the new one."""

    def __init__(self, source: Source, classes: Sequence[str], numbers: NDArray[np.int64]) -> None:
        super().__init__(source)
        self.class_names, self.numbers = tuple(classes), numbers

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of the new numbers."""
        return self.class_names

    def labels(self) -> NDArray[np.int64] | None:
        """The class of each picture, in the new numbers, `[N]`."""
        labels = self.source.labels()
        return None if labels is None else np.where(labels >= 0, self.numbers[labels], -1)
