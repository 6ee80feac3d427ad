"""Decoded pictures kept in memory, where the whole set fits: small ones cost more to fetch than to cut."""

from PIL import Image

from sslcli.data.source import Source

BYTES_PER_PIXEL = 4  # of Pillow's RGB pictures in memory


class KeptPictures:
    """The pictures of a source, each decoded once as far as the memory allows.

    A picture is kept when a whole set of pictures of its size would fit into `megabytes`. Each loader worker keeps its
    own, because it is forked before there are any: give it its share.
    """

    def __init__(self, source: Source, megabytes: float) -> None:
        self.source = source
        self.left = megabytes * 1e6
        self.most = self.left / max(len(source), 1)  # bytes of one picture
        self.pictures: dict[int, Image.Image] = {}

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> Image.Image:
        """One picture, upright and RGB; not to be written into. Raises BrokenPicture."""
        kept = self.pictures.get(index)
        if kept is not None:
            return kept
        image = self.source.image(index)
        size = BYTES_PER_PIXEL * image.width * image.height
        if size <= min(self.most, self.left):
            self.pictures[index] = image
            self.left -= size
        return image
