"""A contact sheet of clusters: a row each, with its number, its size, and the pictures nearest to its centroid."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sslcli.data.fingerprint import spread
from sslcli.data.pictures import BrokenPicture
from sslcli.data.source import Source
from sslcli.disk import write_whole
from sslcli.errors import RunError
from sslcli_moce.balancing import Blocks

SIDE = 96  # pixels, of a cell
GAP = 4
ACROSS = 10  # pictures in a row
DOWN = 32  # rows, at most
MARGIN = 120  # pixels, of the caption
PAPER, INK = (245, 245, 245), (40, 40, 40)


def shown(sizes: Tensor, most: int = DOWN) -> list[int]:
    """The clusters on the sheet: all that hold pictures, or so many of them evenly spread."""
    held = sizes.nonzero().flatten().tolist()
    return [held[place] for place in spread(len(held), most)] if held else []


def foremost(blocks: Blocks, centroids: Tensor, ids: Tensor, clusters: Sequence[int], count: int) -> Tensor:
    """Rows of the features nearest to the centroids of some clusters among their own `ids [N]`, int64 `[K, count]`.

    Nearest first, and -1 where a cluster has no more. Only the nearest so far are held.
    """
    chosen = centroids[list(clusters)]
    best = torch.full((len(clusters), count), -torch.inf)
    rows = torch.full((len(clusters), count), -1)
    begin = 0
    for features in blocks:
        own = ids[begin : begin + len(features)] == torch.tensor(clusters)[:, None]
        cosines = (chosen.to(features) @ features.T).float().cpu().where(own, -torch.inf)
        numbers = torch.arange(begin, begin + len(features)).expand_as(cosines)
        best, order = torch.cat([best, cosines], dim=1).sort(dim=1, descending=True, stable=True)
        rows, best = torch.cat([rows, numbers], dim=1).gather(1, order[:, :count]), best[:, :count]
        begin += len(features)
    return rows.where(best > -torch.inf, -1)


def contact_sheet(captions: Sequence[str], pictures: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures, each after its caption."""
    across = max(map(len, pictures), default=0)
    cell = SIDE + GAP
    sheet = Image.new("RGB", (MARGIN + across * cell + GAP, len(captions) * cell + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (caption, some) in enumerate(zip(captions, pictures)):
        pen.multiline_text((2 * GAP, row * cell + SIDE // 3), caption, fill=INK, font=font)
        for column, picture in enumerate(some):
            sheet.paste(fitted(picture), (MARGIN + column * cell, row * cell + GAP))
    return sheet


def fitted(picture: Image.Image) -> Image.Image:
    """The picture as large as a cell allows."""
    scale = SIDE / max(picture.size)
    return picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))


def write_sheet(
    file: Path, source: Source, sizes: Tensor, clusters: Sequence[int], positions: Tensor, nearest: Tensor
) -> None:
    """The sheet as a PNG: `nearest [K, count]` are rows of features, and `positions [N]` the numbers of their pictures.

    Raises RunError where the disk takes no more.
    """
    captions = [f"cluster {cluster}\n{int(sizes[cluster])} pictures" for cluster in clusters]
    pictures = [readable(source, positions[rows[rows >= 0]].tolist()) for rows in nearest]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, lambda path: contact_sheet(captions, pictures).save(path, "PNG"))
    except OSError as failure:
        raise RunError(f"cannot write {file}: {failure}", "make room; then the same command goes on") from failure


def readable(source: Source, numbers: Sequence[int]) -> list[Image.Image]:
    """Some pictures; one that has become unreadable meanwhile is left out."""
    found = []
    for number in numbers:
        try:
            found.append(source.image(number))
        except BrokenPicture:
            continue
    return found
