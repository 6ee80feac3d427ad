"""The pictures of a source as a backbone would see them, corrupted."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sslcli.data.fingerprint import fingerprint
from sslcli.data.source import Source
from sslcli.evaluation.card import Card, show
from sslcli_robust.corruptions import VERSION, corrupt


class Corrupted:
    """Pictures resized and cut as `card` says, then corrupted: chance is fixed by seed, corruption and index.

    The same pictures at another severity are corrupted by the same draws. Show them whole: `whole(card)`.
    """

    def __init__(self, source: Source, card: Card, corruption: str, severity: int, seed: int) -> None:
        self.source, self.card = source, card
        self.corruption, self.severity, self.seed = corruption, severity, seed
        self.spec = f"{source.spec} ({corruption} {severity})"
        self.said = f"{self.spec}: {len(source)} pictures"
        made = f"{VERSION}/{card.image_size}/{card.crop_share}/{corruption}/{severity}/{seed}"
        self.fingerprint = fingerprint([source.fingerprint, made])

    @property
    def by_row(self) -> bool:
        """As in the clean source."""
        return self.source.by_row

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names of the clean source."""
        return self.source.classes

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> Image.Image:
        """One corrupted picture, as large as the backbone sees it. Raises BrokenPicture."""
        seen = show(self.source.image(index), self.card)
        chance = np.random.default_rng([self.seed, crc32(self.corruption.encode()), int(index)])
        return Image.fromarray(corrupt(seen, self.corruption, self.severity, chance))

    def name(self, index: int) -> str:
        """Where a person finds the clean picture."""
        return self.source.name(index)

    def key(self, index: int) -> str:
        """What the clean picture is called in its set."""
        return self.source.key(index)

    def labels(self) -> NDArray[np.int64] | None:
        """The class of each picture, `[N]`."""
        return self.source.labels()


def whole(card: Card) -> Card:
    """The same card for pictures that are cut already."""
    return Card(card.image_size, 1.0, card.mean, card.std)
