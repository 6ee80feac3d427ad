"""Who is an image's negative: a few other images of the whole batch, drawn without repeats."""

import torch
from torch import Tensor


def draw_others(numbers: Tensor, own: Tensor, images: int) -> Tensor:
    """Rows of other images, int64 `[B, count]`: uniform without replacement among the `images - 1` that are not `own`.

    `numbers [B, count]` are uniform in [0, 1), `own [B]` is the row of each anchor among all `images`, and `count` is
    at most `images - 1`. Floyd's draw (Bentley and Floyd 1987, "A sample of brilliance"): all sets are as likely, the
    order within one is not random.
    """
    count = numbers.shape[1]
    drawn = torch.empty_like(numbers, dtype=torch.int64)
    for place in range(count):
        last = images - 1 - count + place  # of the others, numbered from 0, that this draw may take
        number = (numbers[:, place] * (last + 1)).long()
        repeated = (drawn[:, :place] == number[:, None]).any(dim=1)
        drawn[:, place] = torch.where(repeated, last, number)
    return drawn + (drawn >= own[:, None])  # the numbers go round the anchor's own row
