"""Pictures shown whole to a backbone that takes squares: stretched, so that nothing is cut away."""

from PIL import Image

from sslcli.data.source import Source
from sslcli.data.subset import Derived


class Squares(Derived):
    """The pictures of a source, each stretched to a square of `side` pixels."""

    def __init__(self, source: Source, side: int) -> None:
        super().__init__(source)
        self.side = side

    def image(self, index: int) -> Image.Image:
        """One picture, square and RGB. Raises BrokenPicture."""
        return super().image(index).resize((self.side, self.side), Image.Resampling.BICUBIC)
