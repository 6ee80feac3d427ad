"""Pictures to a backbone of patch tokens at another size than its own, and the maps that come back."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.features import judging
from sslcli.evaluation.samples import Sample, sample
from sslcli.evaluation.trial import Trial
from sslcli.nn import Backbone
from sslcli.nn.image_sizes import fitted

OTHER_SIZE = "take a multiple of its patches: --size 224"  # hint where a size does not fit
COARSEST = 3  # patches a side, of which a map can still be read


def shown(trial: Trial, pictures: int, seed: int, size: int) -> tuple[Backbone, Sample]:
    """The backbone, ready for images of `size` pixels (0: its own), and pictures of that size. Raises UserError."""
    card = replace(trial.card, image_size=size) if size else trial.card
    side = card.image_size
    return fitted(trial.backbone, (side, side), hint=OTHER_SIZE), sample(trial, pictures, seed, card=card)


@torch.no_grad()
def mapped(trial: Trial, backbone: Backbone, images: Tensor, make: Callable[[Backbone, Tensor], Tensor]) -> Tensor:
    """What `make` gives of a backbone and its images, in evaluation mode and 32 bits, on the CPU."""
    with judging(backbone, trial.device):
        return make(backbone, images.to(trial.device)).float().cpu()


def refuse_coarse(side: int) -> None:
    """A map of very few patches shows nothing."""
    if side < COARSEST:
        raise UserError(
            f"the backbone divides a picture into {side} x {side} parts, too few to show",
            "show it larger pictures, as in '--size 160'",
        )
