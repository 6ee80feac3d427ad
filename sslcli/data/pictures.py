"""Encoded picture to RGB, right for every kind there is; what cannot be shown is a BrokenPicture with a reason."""

import os
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sslcli.errors import RunError

# Named one by one: other decoders of Pillow start programs (EPS) or read pictures of unbounded cost.
FORMATS = ("JPEG", "PNG", "WEBP", "MPO", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")
DEFAULT_MEGAPIXELS = 178.0
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BrokenPicture(RunError):
    """A picture that cannot be read or decoded; `path` names it as a person would look for it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}", "remove or replace the picture")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["BrokenPicture"], tuple[str, str]]:
        return type(self), (self.path, self.reason)  # loader workers send it to the main process


def read_picture(path: str | Path, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Image.Image:
    """The RGB picture in a file. Raises BrokenPicture."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise BrokenPicture(printable(path), (error.strerror or str(error)).lower()) from error
    return decode_picture(data, printable(path), max_megapixels=max_megapixels)


def printable(path: str | Path) -> str:
    """A path as it can be shown: file names need not be text."""
    return os.fsencode(path).decode("utf-8", "replace")


def decode_picture(data: bytes, path: str, *, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Image.Image:
    """The RGB picture in `data`: upright by its EXIF, first frame, transparency on white. Raises BrokenPicture."""
    if not data:
        raise BrokenPicture(path, "the file is empty")
    try:
        return decode(data, max_megapixels)
    except UnidentifiedImageError:
        raise BrokenPicture(path, "not a picture of a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BrokenPicture(path, f"it has more than {max_megapixels:g} megapixels") from None
    except MemoryError:
        raise
    except Exception as error:  # hostile files make decoders raise almost anything: struct.error, KeyError, SyntaxError
        raise BrokenPicture(path, str(error) or type(error).__name__) from error


def decode(data: bytes, max_megapixels: float) -> Image.Image:
    """The RGB picture in `data`; the size in the header is checked before a pixel is decoded."""
    limit = round(max_megapixels * 1e6)
    Image.MAX_IMAGE_PIXELS = limit  # Pillow checks frames inside a file too: one limit for both
    picture = open_header(data)
    if picture.width * picture.height > limit:
        raise Image.DecompressionBombError
    picture.load()
    turn = TURNS.get(orientation(picture))
    picture = as_rgb(picture)
    return picture if turn is None else picture.transpose(turn)


def open_header(data: bytes) -> Image.Image:
    """The picture before any pixel is decoded."""
    return Image.open(BytesIO(data), formats=formats_of_pillow())


@cache
def formats_of_pillow() -> tuple[str, ...]:
    """The formats that this Pillow was built with.

    From here on its warning of decompression bombs is an error, and its grumbling over damaged metadata is silent.
    """
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation of a loaded picture; 1 (upright) where there is none, or where it cannot be read."""
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not spoil the pixels
        return 1


def as_rgb(picture: Image.Image) -> Image.Image:
    """A loaded picture of any mode in RGB."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(grey_levels(np.asarray(picture))).convert("RGB")
    return on_white(picture) if picture.has_transparency_data else picture.convert("RGB")


def on_white(picture: Image.Image) -> Image.Image:
    """A picture with transparent parts, laid on white."""
    layer = picture.convert("RGBA")
    paper = Image.new("RGB", picture.size, (255, 255, 255))
    paper.paste(layer, mask=layer.getchannel("A"))
    return paper


def grey_levels(grey: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey of more than 8 bits as 0 to 255.

    Whole numbers are 16-bit grey (white is 65535); the white of floats is 1 or 255, whichever holds them all.
    Other ranges have no known white, and are stretched from their least to their greatest value.
    """
    levels = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(levels.min()), float(levels.max())
    whites = (65535.0,) if np.issubdtype(grey.dtype, np.integer) else (1.0, 255.0)
    white = next((white for white in whites if low >= 0.0 and high <= white), None)
    if white is not None:
        low, high = 0.0, white
    stretched = (levels - low) * (255.0 / (high - low or 1.0))
    return np.asarray(np.rint(stretched), dtype=np.uint8)
