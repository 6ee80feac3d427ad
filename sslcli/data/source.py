"""What every set of pictures can do, wherever it lies."""

from collections.abc import Callable, Mapping
from typing import Protocol

from numpy import int64
from numpy.typing import NDArray
from PIL import Image


class Source(Protocol):
    """Pictures by number.

    Small when pickled, and safe to use after a fork: the data stay on disk, mapped into memory.
    """

    @property
    def spec(self) -> str:
        """What opens this source again, with its split."""

    @property
    def said(self) -> str:
        """What was found, in words: how many pictures, and what was ignored."""

    @property
    def fingerprint(self) -> str:
        """The identity of the content, as far as names and sizes tell it."""

    @property
    def by_row(self) -> bool:
        """Whether a picture is called by its place in the set, so that its key means nothing in another set."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; empty when there are no labels."""

    def labels(self) -> NDArray[int64] | None:
        """The class of each picture, `[N]`, -1 where one has none; None when there are no labels."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image.Image:
        """One picture, upright and RGB. Raises BrokenPicture."""

    def name(self, index: int) -> str:
        """Where a person finds the picture: its path, or its row."""

    def key(self, index: int) -> str:
        """What the picture is called within its set, wherever that lies: what is kept for it is found by this."""


Splits = Mapping[str, Callable[[], Source]]  # by name; each is opened only when it is asked for
