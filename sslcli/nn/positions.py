"""Tables of positions: fixed sine-cosine ones, and any table brought to another grid.

A table is `[1, prefix + rows * columns, D]`: prefix tokens (CLS, registers) first, then the patches row by row.
"""

from typing import Literal

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor
from torch.nn import functional

from sslcli.errors import UserError

Grid = tuple[int, int]  # rows, columns
Resize = Literal["size", "dino"]


def sincos_table(width: int, grid: Grid, *, prefix: int = 0, transposed: bool = False) -> Tensor:
    """Fixed positions `[1, prefix + N, width]`; rows of prefix tokens are zero.

    MAE (arXiv 2111.06377): the first half of the channels encodes the column of a patch, the second half its row.
    MoCo v3 (arXiv 2104.02057) has the two the other way round: `transposed`.
    """
    if width % 4:
        raise UserError(
            f"sine-cosine positions need a width that is a multiple of 4, not {width}", "choose another width"
        )
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    first, second = (rows, columns) if transposed else (columns, rows)
    patches = torch.cat([sincos(first.flatten(), width // 2), sincos(second.flatten(), width // 2)], dim=1)
    return torch.cat([torch.zeros(prefix, width), patches.float()])[None]


def sincos(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of positions `[N]` at width/2 frequencies 10000^(-2k/width): float64 `[N, width]`."""
    frequencies = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.double()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def resize_positions(table: Tensor, old: Grid, new: Grid, *, prefix: int = 0, how: Resize = "size") -> Tensor:
    """The table for another grid, by bicubic interpolation; prefix rows stay as they are.

    `size` interpolates to the target size with antialiasing, as timm does. `dino` interpolates by the scale factor
    (new + 0.1) / old without antialiasing, as DINO and its descendants do: the sampled places differ a little.
    """
    if old == new:
        return table
    if how == "size":
        resized: Tensor = resample_abs_pos_embed(
            table, new_size=list(new), old_size=list(old), num_prefix_tokens=prefix
        )
        return resized
    return torch.cat([table[:, :prefix], dino_resized(table[:, prefix:], old, new)], dim=1)


def dino_resized(patches: Tensor, old: Grid, new: Grid) -> Tensor:
    """Patch rows `[1, N, D]` resized by scale factor; the 0.1 keeps the floor of old * factor at `new`."""
    image = patches.float().reshape(len(patches), *old, -1).permute(0, 3, 1, 2)
    factors = ((new[0] + 0.1) / old[0], (new[1] + 0.1) / old[1])
    resized = functional.interpolate(image, scale_factor=factors, mode="bicubic")
    return resized.permute(0, 2, 3, 1).flatten(1, 2).to(patches.dtype)


def grid_of(count: int, prefixes: tuple[int, ...]) -> tuple[int, Grid] | None:
    """How many of `count` rows are prefix tokens, and the square grid of the others; the first prefix that fits."""
    for prefix in prefixes:
        side = round(max(count - prefix, 0) ** 0.5)
        if side and side * side == count - prefix:
            return prefix, (side, side)
    return None
