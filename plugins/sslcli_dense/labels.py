"""Labels of pixels: a PNG of numbers, grey or with a palette."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslcli.data.pictures import BrokenPicture, open_header, printable
from sslcli.errors import UserError

Label = NDArray[np.int64]  # [H, W], the number of each pixel

NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B")  # modes of Pillow whose values are numbers, not colours
LOSSY = ("JPEG", "MPO", "WEBP")
KIND = "a label is a PNG of class numbers, grey or with a palette, not a picture of colours"


def read_label(file: Path) -> Label:
    """The numbers in a label. Raises BrokenPicture where it cannot be read, and UserError where it is no label."""
    name = printable(file)
    try:
        picture = open_header(file.read_bytes())
        form, mode = picture.format, picture.mode
        numbers = np.asarray(picture)
    except MemoryError:
        raise
    except Exception as error:  # damaged files make decoders raise almost anything
        raise BrokenPicture(name, str(error) or type(error).__name__) from None
    if mode not in NUMBERS:
        raise UserError(f"{name} has colours ({mode}), where a label has numbers", KIND)
    if form in LOSSY:
        raise UserError(f"{name} is a {form}, which changes numbers when it is stored", KIND)
    return numbers.astype(np.int64)
