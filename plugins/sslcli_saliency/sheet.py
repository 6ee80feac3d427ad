"""A contact sheet: pictures, the maps that were made of them, and the pictures without their background."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sslcli.data.masks import usable, without_background
from sslcli_saliency.estimation import Estimate

SIDE = 128  # pixels, of a cell
GAP = 4
ACROSS = 4  # pictures in a row, three cells each
PAPER, GREEN = (245, 245, 245), (0, 160, 70)


def contact_sheet(estimates: Sequence[Estimate]) -> Image.Image:
    """Three cells a picture: itself, its map, and what is left of it; whole where no object was found."""
    rows = -(-len(estimates) // ACROSS)
    cell = SIDE + GAP
    sheet = Image.new("RGB", (ACROSS * (3 * cell + GAP), rows * cell + GAP), PAPER)
    for number, found in enumerate(estimates):
        row, column = divmod(number, ACROSS)
        for place, picture in enumerate(cells(found)):
            sheet.paste(fitted(picture), (column * (3 * cell + GAP) + place * cell + GAP, row * cell + GAP))
    return sheet


def fitted(picture: Image.Image) -> Image.Image:
    """The picture as large as a cell allows."""
    scale = SIDE / max(picture.size)
    return picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))


def cells(found: Estimate) -> tuple[Image.Image, Image.Image, Image.Image]:
    """The picture, its map in grey, and the picture with its background in one colour."""
    picture = Image.fromarray(np.rint(found.picture * 255).astype(np.uint8))
    seen = Image.fromarray(np.rint(found.map.clip(0, 1) * 255).astype(np.uint8)).convert("RGB")
    left = without_background(picture, found.mask, GREEN) if usable(found.mask) else picture.copy()
    return picture, seen, left


def write_sheet(file: Path, estimates: Sequence[Estimate]) -> None:
    """The contact sheet as a PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(estimates).save(file)
