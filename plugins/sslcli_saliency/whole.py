"""Pictures shown whole to a backbone that takes squares: stretched, so that nothing is cut away."""

from PIL import Image

from sslcli.data.source import Source


class Squares:
    """The pictures of a source, each stretched to a square of `side` pixels."""

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side = source, side
        self.spec, self.said, self.fingerprint = source.spec, source.said, source.fingerprint
        self.classes, self.by_row = source.classes, source.by_row

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> Image.Image:
        """One picture, square and RGB. Raises BrokenPicture."""
        return self.source.image(index).resize((self.side, self.side), Image.Resampling.BICUBIC)

    def name(self, index: int) -> str:
        """Where a person finds the picture."""
        return self.source.name(index)

    def key(self, index: int) -> str:
        """What the picture is called in its set."""
        return self.source.key(index)

    def labels(self) -> None:
        """None: nobody asks."""
