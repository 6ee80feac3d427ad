"""Patches hidden in blocks (BEiT, arXiv:2106.08254, algorithm 1, as iBOT uses it), for a whole batch at once.

Each crop has a budget of patches. Rectangles of random area, shape and place are tried one after the other; one is
taken when it hides something new and no more than what is left of the budget. Ten refusals in a row are the end.
"""

import math

import torch
from torch import Tensor

ATTEMPTS = 48  # rectangles that are tried at most; on 14 x 14 patches 32 are enough for 999 masks of 1,000
PATIENCE = 10  # refusals in a row
NUMBERS = 4  # random ones a rectangle: area, shape, row, column


def mask_budget(numbers: Tensor, patches: int, *, probability: float, ratio: float, spread: float) -> Tensor:
    """How many patches to hide, `[B]`, not rounded, from uniform `numbers [B, 2]`: none, or about `ratio` of them."""
    masked, place = numbers.unbind(dim=1)
    return (masked < probability) * (ratio + spread * (2 * place - 1)) * patches


def block_masks(numbers: Tensor, budget: Tensor, grid: tuple[int, int], aspect: float) -> Tensor:
    """Where patches are hidden, bool `[B, rows * columns]`, never more than `budget [B]`.

    `numbers [B, attempts, 4]` are uniform in [0, 1); blocks are `aspect` to `1 / aspect` times as high as wide.
    """
    rows, columns = (torch.arange(size, device=numbers.device) for size in grid)
    mask = torch.zeros(len(numbers), *grid, dtype=torch.bool, device=numbers.device)
    left, refused = budget, torch.zeros_like(budget)
    for number in numbers.unbind(dim=1):
        (top, bottom), (start, end) = rectangle(number, left, grid, aspect)
        block = within(rows, top, bottom)[:, :, None] & within(columns, start, end)[:, None, :]
        added = (block & ~mask).sum(dim=(1, 2))
        fits = (bottom - top < grid[0]) & (end - start < grid[1]) & (added > 0) & (added <= left)
        taken = fits & (refused < PATIENCE)
        mask |= block & taken[:, None, None]
        left = torch.where(taken, left - added, left)
        refused = torch.where(taken, 0, refused + 1)
    return mask.flatten(1)


Span = tuple[Tensor, Tensor]


def rectangle(number: Tensor, left: Tensor, grid: tuple[int, int], aspect: float) -> tuple[Span, Span]:
    """First and last row, first and last column (not included), each `[B]`, from `number [B, 4]`.

    The area lies between a ninth of the shorter side squared and what is `left [B]`, the shape is log-uniform.
    """
    least = float((min(grid) // 3) ** 2)
    area = (least + (left.clamp(min=0) - least) * number[:, 0]).clamp(min=0)
    shape = torch.exp(math.log(aspect) * (1 - 2 * number[:, 1]))
    high, wide = (area * shape).sqrt().round(), (area / shape).sqrt().round()
    top = (number[:, 2] * (grid[0] - high + 1)).floor()
    start = (number[:, 3] * (grid[1] - wide + 1)).floor()
    return (top, top + high), (start, start + wide)


def within(places: Tensor, first: Tensor, end: Tensor) -> Tensor:
    """Which of `places [N]` lie from `first [B]` to before `end [B]`, `[B, N]`."""
    return (places >= first[:, None]) & (places < end[:, None])
