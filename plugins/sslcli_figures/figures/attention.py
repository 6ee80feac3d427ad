"""Where a vision transformer looks in its last block: a map a head, and the patches that get most of it.

The thresholded maps are those of DINO (arXiv:2104.14294): the fewest patches that together get 60 % of what a head
gives to patches. Their colours in one picture, a colour a head, are the figure of Mugs (arXiv:2203.14415).
"""

from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageColor
from torch import Tensor

from sslcli.evaluation.attention import cls_attention, has_cls, patch_attention
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.samples import Sample
from sslcli.evaluation.sheets import Cell, pictured, sheet
from sslcli.evaluation.style import COLOURS, HEAT
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.showing import mapped, refuse_coarse, shown
from sslcli_figures.options import AttentionOptions

Pixels = NDArray[np.uint8]
FADED = 0.82  # of the way to white, what is not kept


def draw(options: AttentionOptions, trial: Trial) -> Drawing:
    """Two rows a picture: heat maps of the heads; then what each keeps, in its colour."""
    backbone, sample = shown(trial, options.pictures, options.seed, options.size)
    cls = has_cls(backbone)
    maps = mapped(trial, backbone, sample.images, cls_attention if cls else patch_attention)
    refuse_coarse(maps.shape[-1])
    heads = telling(maps, options.heads)
    kept = top_mass(maps.flatten(2), options.mass).view_as(maps)
    columns = ["picture", "all heads", *(f"head {head + 1}" for head in heads)]
    rows = [row for number in range(len(maps)) for row in rows_of(sample, maps, kept, heads, number)]
    return Drawing(
        "Attention",
        sheet(rows, columns),
        caption(cls, len(heads), maps, options.mass),
        {
            "heads": maps.shape[1],
            "shown": [head + 1 for head in heads],
            "grid": list(maps.shape[-2:]),
            "entropy": entropies(maps).mean(dim=0).tolist(),
            "kept": kept.float().mean(dim=(0, 2, 3)).tolist(),
            "pictures": sample.names,
        },
    )


def caption(cls: bool, heads: int, maps: Tensor, mass: float) -> str:
    """What is seen."""
    who = "the CLS token" if cls else "the patches (the mean over all: there is no CLS token)"
    spread = float(entropies(maps).mean().exp())
    some = "" if heads == maps.shape[1] else f" {heads} of {maps.shape[1]} heads are shown."
    rows, columns = maps.shape[-2:]
    return (
        f"Attention of {who} to the {rows} x {columns} patches in the last block, each map from its least to its "
        f"greatest; in the mean it is spread as over {spread:.0f} of them. Below each map the fewest patches that get "
        f"{mass:.0%} of it; under 'all heads' each of these has the colour of the head that looks at it most.{some}"
    )


def top_mass(shares: Tensor, mass: float) -> Tensor:
    """The fewest places of `[..., N]` that together hold `mass` of all that the places hold, bool `[..., N]`."""
    ordered, order = shares.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    chosen = before < mass * shares.sum(dim=-1, keepdim=True)
    return torch.zeros_like(chosen).scatter_(-1, order, chosen)


def telling(maps: Tensor, most: int) -> list[int]:
    """The heads whose maps `[B, H, h, w]` differ most from the mean of all, as many as are wanted, in their order."""
    shares = maps / maps.sum(dim=(2, 3), keepdim=True)
    apart = (shares - shares.mean(dim=1, keepdim=True)).abs().sum(dim=(2, 3)).mean(dim=0)
    return sorted(apart.argsort(descending=True, stable=True)[:most].tolist())


def entropies(maps: Tensor) -> Tensor:
    """Of each picture's and head's attention to patches, `[B, H]`, in nats: ln N where it looks at all alike."""
    shares = (maps / maps.sum(dim=(2, 3), keepdim=True)).flatten(2)
    return -torch.xlogy(shares, shares).sum(dim=-1)


def rows_of(sample: Sample, maps: Tensor, kept: Tensor, heads: list[int], number: int) -> list[list[Cell]]:
    """The two rows of one picture."""
    picture, own = sample.crops[number], maps[number]
    hot = [Cell(heat(own.mean(dim=0), picture)), *(Cell(heat(own[head], picture)) for head in heads)]
    colours = {head: COLOURS[place % len(COLOURS)] for place, head in enumerate(heads)}
    cut = [Cell(kept_in(picture, kept[number, head], colours[head])) for head in heads]
    return [[Cell(pictured(picture)), *hot], [Cell(None), Cell(by_head(picture, own, kept[number], colours)), *cut]]


def enlarged(values: NDArray[Any], picture: Pixels) -> NDArray[Any]:
    """A value of each patch `[h, w, ...]` to all of its pixels, `[S, S, ...]`."""
    side = len(picture)
    rows = np.arange(side) * values.shape[0] // side
    columns = np.arange(side) * values.shape[1] // side
    pixels: NDArray[Any] = values[rows[:, None], columns[None]]
    return pixels


def heat(shares: Tensor, picture: Pixels) -> Image.Image:
    """A map as colours, from its least to its greatest."""
    low, high = float(shares.min()), float(shares.max())
    colours = matplotlib.colormaps[HEAT](((shares - low) / max(high - low, 1e-12)).numpy())[..., :3]
    return pictured((enlarged(colours, picture) * 255).round().astype(np.uint8))


def kept_in(picture: Pixels, kept: Tensor, colour: str) -> Image.Image:
    """The picture where a head looks, faded elsewhere, with a tint of the head's colour."""
    mask = enlarged(kept.numpy(), picture)[..., None]
    tint = 0.75 * picture + 0.25 * np.array(ImageColor.getrgb(colour))
    return pictured(np.where(mask, tint, faded(picture)).astype(np.uint8))


def by_head(picture: Pixels, maps: Tensor, kept: Tensor, colours: dict[int, str]) -> Image.Image:
    """Each kept patch in the colour of the shown head that gives it most, over the faded picture."""
    heads = list(colours)
    shares = torch.where(kept, maps, torch.zeros_like(maps))[heads]  # [heads, h, w]
    palette = np.array([ImageColor.getrgb(colours[head]) for head in heads], np.uint8)
    chosen = enlarged(palette[shares.argmax(dim=0).numpy()], picture)
    mask = enlarged((shares.amax(dim=0) > 0).numpy(), picture)[..., None]
    return pictured(np.where(mask, chosen, faded(picture)).astype(np.uint8))


def faded(picture: Pixels) -> NDArray[np.floating[Any]]:
    """Almost white."""
    return picture * (1 - FADED) + 255 * FADED
