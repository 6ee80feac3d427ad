"""Pictures to a backbone of patch tokens at another size than its own, and the maps that come back."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import judging
from sslcli.evaluation.samples import Sample, sample
from sslcli.evaluation.trial import Trial
from sslcli.nn import Backbone
from sslcli.nn.encoders import TimmNetwork

COARSEST = 3  # patches a side, of which a map can still be read


def shown(trial: Trial, pictures: int, seed: int, size: int) -> tuple[Backbone, Sample]:
    """The backbone, ready for images of `size` pixels (0: its own), and pictures of that size. Raises UserError."""
    card = replace(trial.card, image_size=size) if size else trial.card
    return ready(trial.backbone, trial.card, card), sample(trial, pictures, seed, card=card)


def ready(backbone: Backbone, own: Card, card: Card) -> Backbone:
    """The backbone, or where timm fixes the size of its images a copy for another size, positions resized."""
    if card.image_size == own.image_size or not isinstance(backbone, TimmNetwork):
        return backbone
    if not hasattr(backbone.model, "set_input_size"):
        return backbone
    other = deepcopy(backbone)
    try:
        other.model.set_input_size(img_size=card.image_size)
    except Exception as refusal:  # timm asserts, and raises what it likes
        raise misfit(card.image_size) from refusal
    return other


@torch.no_grad()
def mapped(trial: Trial, backbone: Backbone, images: Tensor, make: Callable[[Backbone, Tensor], Tensor]) -> Tensor:
    """What `make` gives of a backbone and its images, in evaluation mode and 32 bits, on the CPU."""
    with judging(backbone, trial.device):
        try:
            return make(backbone, images.to(trial.device)).float().cpu()
        except (AssertionError, RuntimeError) as refusal:
            raise misfit(images.shape[-1]) from refusal


def misfit(size: int) -> UserError:
    """The error for images that the backbone cannot take."""
    return UserError(
        f"the backbone cannot be shown pictures of {size} pixels a side", "take a multiple of its patches: --size 224"
    )


def refuse_coarse(side: int) -> None:
    """A map of very few patches shows nothing."""
    if side < COARSEST:
        raise UserError(
            f"the backbone divides a picture into {side} x {side} parts, too few to show",
            "show it larger pictures, as in '--size 160'",
        )
