"""Patch tokens of several pictures as colours: their first three principal components (as DINOv2, arXiv:2304.07193).

all        first component of all tokens; those on its side that lies in the middle of the pictures are foreground
foreground three components of these alone, each from its 2nd to its 98th percentile as red, green and blue
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from sklearn.decomposition import PCA
from torch import Tensor

from sslcli.evaluation.attention import grid_of_square
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.samples import Sample
from sslcli.evaluation.sheets import Cell, pictured, sheet
from sslcli.evaluation.style import FAINT
from sslcli.evaluation.trial import Trial
from sslcli.nn import Backbone
from sslcli_figures.figures.showing import mapped, refuse_coarse, shown
from sslcli_figures.options import PcaOptions

Numbers = NDArray[np.float64]
FEWEST = 8  # patches in the foreground, below which all are coloured


def draw(options: PcaOptions, trial: Trial) -> Drawing:
    """A row of pictures over a row of their tokens."""
    backbone, sample = shown(trial, options.pictures, options.seed, options.size)
    tokens = mapped(trial, backbone, sample.images, patch_tokens)
    rows, columns = grid_of_square(tokens.shape[1])
    refuse_coarse(rows)
    table = tokens.flatten(0, 1).double().numpy()  # [B * N, D]
    inside = foreground(table, len(tokens), (rows, columns)) if options.foreground else np.ones(len(table), bool)
    colours, explained = coloured(table, inside)
    tiles = colours.reshape(len(tokens), rows, columns, 3)
    return Drawing(
        "Principal components of patch tokens",
        sheet(lines(sample, tiles)),
        caption(options.foreground, len(tokens), explained),
        {
            "grid": [rows, columns],
            "explained": explained,
            "foreground": float(inside.mean()),
            "pictures": sample.names,
        },
    )


def patch_tokens(backbone: Backbone, images: Tensor) -> Tensor:
    """Patch tokens after the last norm, or the last map's places, `[B, N, D]`."""
    return backbone.features(images).patches


def caption(split: bool, pictures: int, explained: list[float]) -> str:
    """What is seen."""
    which = " of the patches on the inner side of the first component of all (the others are grey)" if split else ""
    return (
        f"The first three principal components{which} as red, green and blue, found over {pictures} pictures together: "
        f"alike colours are alike tokens. They hold {', '.join(f'{share:.0%}' for share in explained)} of the variance."
    )


def foreground(table: Numbers, pictures: int, grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Which of all tokens `[B * N]` lie on the side of the first component that is rarer at the pictures' borders."""
    along = PCA(1, svd_solver="full").fit_transform(table)[:, 0].reshape(pictures, *grid)
    border = np.ones(grid, bool)
    border[1:-1, 1:-1] = False
    outward = (along[:, border] > 0).mean() > (along[:, ~border] > 0).mean()
    inside: NDArray[np.bool_] = ((-along if outward else along) > 0).reshape(-1)
    return inside if inside.sum() >= FEWEST else np.ones_like(inside)


def coloured(table: Numbers, inside: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], list[float]]:
    """Colours `[B * N, 3]` of the tokens, grey outside, and the shares of variance that three components hold."""
    components = min(3, *table[inside].shape)
    found = PCA(components, svd_solver="full").fit(table[inside])
    along = np.zeros((len(table), 3))
    along[:, :components] = found.transform(table)
    low, high = np.percentile(along[inside], [2, 98], axis=0)
    scaled = ((along - low) / np.maximum(high - low, 1e-12)).clip(0, 1)
    colours = np.where(inside[:, None], scaled * 255, np.array(ImageColor.getrgb(FAINT)))
    return colours.round().astype(np.uint8), [float(share) for share in found.explained_variance_ratio_]


def lines(sample: Sample, tiles: NDArray[np.uint8]) -> list[list[Cell]]:
    """The pictures, and below them their tokens; more than six go on in further pairs of rows."""
    found = []
    for begin in range(0, len(tiles), 6):
        some = range(begin, min(begin + 6, len(tiles)))
        found.append([Cell(pictured(sample.crops[number])) for number in some])
        found.append([Cell(whole(tiles[number], len(sample.crops[number]))) for number in some])
    return found


def whole(tile: NDArray[np.uint8], side: int) -> Image.Image:
    """A map at the size of its picture, each patch a square."""
    return pictured(tile).resize((side, side), Image.Resampling.NEAREST)
