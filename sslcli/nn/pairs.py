"""Which of the teacher's crops is compared with which of the student's, and how much each pair weighs."""

from typing import Literal

import torch
from torch import Tensor

from sslcli.errors import UserError

Weighing = Literal["balanced", "flat"]


def pair_weights(teacher: int, large: int, small: int, how: Weighing = "flat") -> Tensor:
    """Weights `[teacher, large + small]` that sum to one; a pair of crops of one number weighs nothing.

    `flat`: all pairs weigh the same, as in DINO (arXiv:2104.14294). `balanced`: the pairs with a large crop weigh half
    of the whole, those with a small one the other half, as in the released code of Mugs (arXiv:2203.14415); where one
    of the two kinds is not there, the other weighs the whole. Raises UserError when there is no pair at all.
    """
    same = min(teacher, large)
    counts = (teacher * large - same, teacher * small)  # pairs with a large crop, pairs with a small one
    if not any(counts):
        raise UserError(
            "there is nothing to compare: teacher and student have one crop each, of one number",
            "give the view group two crops, or add small ones by local_views",
        )
    kinds = sum(count > 0 for count in counts)
    parts = [kinds * count if how == "balanced" else sum(counts) for count in counts]
    weights = torch.cat(
        [torch.full((teacher, size), 1.0 / (part or 1)) for size, part in zip((large, small), parts)], 1
    )
    weights[range(same), range(same)] = 0.0
    return weights
