"""The pictures of a source as a backbone would see them, corrupted."""

from zlib import crc32

import numpy as np
from PIL import Image

from sslcli.data.fingerprint import fingerprint
from sslcli.data.source import Source
from sslcli.data.subset import Derived
from sslcli.evaluation.card import Card, show
from sslcli.words import counted
from sslcli_robust.corruptions import VERSION, corrupt


class Corrupted(Derived):
    """Pictures resized and cut as `card` says, then corrupted: chance is fixed by seed, corruption and index.

    The same pictures at another severity are corrupted by the same draws. Show them whole: `whole(card)`.
    """

    def __init__(self, source: Source, card: Card, corruption: str, severity: int, seed: int) -> None:
        super().__init__(source)
        self.card, self.corruption, self.severity, self.seed = card, corruption, severity, seed
        self.spec = f"{source.spec} ({corruption} {severity})"
        self.said = f"{self.spec}: {counted(len(source), 'picture')}"
        made = f"{VERSION}/{card.image_size}/{card.crop_share}/{corruption}/{severity}/{seed}"
        self.fingerprint = fingerprint([source.fingerprint, made])

    def image(self, index: int) -> Image.Image:
        """One corrupted picture, as large as the backbone sees it. Raises BrokenPicture."""
        seen = show(super().image(index), self.card)
        chance = np.random.default_rng([self.seed, crc32(self.corruption.encode()), int(index)])
        return Image.fromarray(corrupt(seen, self.corruption, self.severity, chance))


def whole(card: Card) -> Card:
    """The same card for pictures that are cut already."""
    return Card(card.image_size, 1.0, card.mean, card.std)
