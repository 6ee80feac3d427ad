"""Which pixels of a picture are its object: masks in a folder, beside the data.

    MASKS/n01440764/x_1.jpeg.png    of the picture n01440764/x_1.jpeg; x_1.png is taken too
    MASKS/000000/00000017.png       of row 17 of a table
    MASKS/masks.json                what made them, and the identity of the data whose rows they are numbered by

A mask is a PNG, white (1) on the object, of the picture's shape but of any size. `write_mask` writes one bit a pixel.
"""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pyarrow import parquet

from sslcli import __version__
from sslcli.data.fingerprint import ends_of, fingerprint, spread
from sslcli.data.openers import DEMO
from sslcli.data.pictures import printable
from sslcli.data.source import Source
from sslcli.disk import expand, write_whole
from sslcli.errors import UserError

Mask = NDArray[np.bool_]  # [H, W], true on the object

MANIFEST = "masks.json"
LEAST, MOST = 0.01, 0.95  # shares of the picture that an object has; other masks are no use (Van Gansbeke et al. 2021)
SLACK = 0.03  # by which a mask's shape may differ from the picture's, for sizes are rounded
LOOKED_AT = 2000  # pictures that are asked for their masks before training
STEP = [0] * 128 + [255] * 128  # grey to black and white
MAKE = "make them: sslcli saliency compute DATA -o MASKS, then --set data.masks=MASKS"


class BrokenMask(Exception):
    """A mask that cannot be used, and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = path, reason


def usable(mask: Mask) -> bool:
    """Whether a mask shows an object: neither next to nothing nor next to everything."""
    return bool(LEAST <= mask.mean() <= MOST)


def mask_file(root: Path, key: str) -> Path:
    """Where the mask of the picture called `key` (`Source.key`) is written."""
    return root / f"{key}.png"


def found_file(root: Path, key: str) -> Path | None:
    """Where the mask of a picture is: under its whole name, or with the ending of the picture replaced."""
    written = mask_file(root, key)
    return next((file for file in (written, (root / key).with_suffix(".png")) if file.is_file()), None)


def write_mask(file: Path, mask: Mask) -> None:
    """A mask as a PNG of one bit a pixel, whole or not there at all; folders on the way are made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)  # of mode "1"
    write_whole(file, lambda path: image.save(path, format="PNG", optimize=True))


def decode_mask(data: bytes, name: str) -> Mask:
    """The mask in a PNG, or in any picture: what is lighter than middle grey is the object. Raises BrokenMask."""
    try:
        with Image.open(BytesIO(data)) as picture:
            return np.asarray(picture.convert("L")) > 127
    except UnidentifiedImageError:  # which names an object in memory
        raise BrokenMask(name, "not a picture of a known format") from None
    except Exception as error:  # damaged files make decoders raise almost anything
        raise BrokenMask(name, str(error) or type(error).__name__) from None


class Masks(Protocol):
    """Masks of the pictures of one source. Small when pickled, and safe to use after a fork."""

    @property
    def said(self) -> str:
        """What was found, in words."""

    @property
    def fingerprint(self) -> str:
        """The identity of the masks, as far as is cheap."""

    def mask(self, index: int, width: int, height: int) -> Mask | None:
        """The mask of a picture of this size; None where there is none that is of use. Raises BrokenMask."""


class MaskFolder:
    """The masks below a folder, of the pictures of a source by their keys."""

    def __init__(self, spec: str, source: Source) -> None:
        self.root, self.source = expand(spec).absolute(), source
        looked_at = spread(len(source), LOOKED_AT)
        found = [file for index in looked_at if (file := found_file(self.root, source.key(index)))]
        if not found:
            raise no_masks(self.root, source)
        self.said = said_of(spec, len(found), len(looked_at), len(source))
        ends = [ends_of(found[place]) for place in spread(len(found))]
        self.fingerprint = fingerprint([json.dumps(read_manifest(self.root), sort_keys=True), *ends])

    def mask(self, index: int, width: int, height: int) -> Mask | None:
        """The mask of a picture of this size; None where there is none that is of use. Raises BrokenMask."""
        file = found_file(self.root, self.source.key(index))
        if file is None:
            return None
        try:
            data = file.read_bytes()
        except OSError as error:
            raise BrokenMask(printable(file), (error.strerror or str(error)).lower()) from None
        return checked(decode_mask(data, printable(file)), printable(file), width, height)


class MaskTable:
    """Masks in the rows of a parquet file, as those of the demo pictures are."""

    def __init__(self, spec: str, file: Path) -> None:
        self.file = file
        self.masks = parquet.read_table(file).column("mask")
        self.said = f"masks: {spec}, one for each of {len(self.masks)} pictures"
        self.fingerprint = fingerprint([ends_of(file)])

    def mask(self, index: int, width: int, height: int) -> Mask | None:
        """The mask of a picture of this size; None where it is of no use. Raises BrokenMask."""
        name = f"{self.file} row {index}"
        return checked(decode_mask(self.masks[int(index)].as_py(), name), name, width, height)


class NoMasks:
    """The masks of other pictures: a recipe for the demo pictures may be given other data by `--data`."""

    def __init__(self, spec: str, source: Source) -> None:
        self.said = f"warning: masks: {spec} has none for {source.spec}, so no background is removed; {MAKE}"
        self.fingerprint = ""

    def mask(self, index: int, width: int, height: int) -> Mask | None:
        """None: every picture is shown whole."""
        return None


def open_masks(spec: str, source: Source) -> Masks:
    """The masks that a recipe names by `data.masks`: a folder, or `demo`. Raises UserError."""
    if spec == "demo":
        return MaskTable(spec, DEMO / "masks.parquet") if source.spec == "demo@train" else NoMasks(spec, source)
    root = expand(spec)
    if not root.is_dir():
        raise UserError(f"no folder of masks {spec} (data.masks)", MAKE)
    refuse_other_rows(root, source)
    return MaskFolder(spec, source)


def refuse_other_rows(root: Path, source: Source) -> None:
    """Masks that are called by rows belong to one table: with another they would be those of other pictures."""
    made_for = read_manifest(root)
    if source.by_row and made_for.get("fingerprint", source.fingerprint) != source.fingerprint:
        raise UserError(
            f"the masks in {root} were made for other data: {made_for.get('data')}, not {source.spec}", MAKE
        )


def write_manifest(root: Path, facts: Mapping[str, Any]) -> None:
    """Note how the masks below a folder are made, and by which sslcli; the folder is made. Raises UserError."""
    text = json.dumps({**facts, "sslcli": __version__}, indent=1)
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_whole(root / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot write to {root}: {error.strerror or error}", "choose another folder") from error


def read_manifest(root: Path) -> dict[str, Any]:
    """What is known of how the masks below a folder were made; nothing where somebody else made them."""
    try:
        manifest: dict[str, Any] = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {root / MANIFEST}: {error}", "restore it, or make the masks again") from None
    return manifest


def no_masks(root: Path, source: Source) -> UserError:
    """The error for a folder that holds no mask of the pictures."""
    expected = mask_file(root, source.key(0))
    return UserError(f"no picture of {source.spec} has a mask in {root}; that of the first would be {expected}", MAKE)


def said_of(spec: str, found: int, looked_at: int, samples: int) -> str:
    """How many pictures have a mask; of a large set, how many of those that were looked at."""
    those = f"{samples} pictures" if looked_at == samples else f"{looked_at} pictures looked at"
    rest = "" if found == looked_at else "; the others are shown whole"
    return f"masks: {spec}, for {found} of {those}{rest}"


def checked(mask: Mask, name: str, width: int, height: int) -> Mask | None:
    """A mask that fits a picture and shows an object; None where it shows none. Raises BrokenMask."""
    rows, columns = mask.shape
    if abs(columns / rows - width / height) > SLACK * width / height + 1.0 / rows:
        raise BrokenMask(name, f"it is {columns}x{rows} and the picture {width}x{height}: not of one shape")
    return mask if usable(mask) else None


def without_background(image: Image.Image, mask: Mask, colour: tuple[int, int, int]) -> Image.Image:
    """An RGB picture with all but its object in one colour; a mask of another size is resized, and cut at one half."""
    shown = Image.fromarray(mask).convert("L").resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(image, Image.new("RGB", image.size, colour), shown.point(STEP))
