"""Images of another size than a backbone was trained with."""

from copy import deepcopy

import torch

from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone
from sslcli.nn.modes import in_evaluation

Size = tuple[int, int]  # height and width


def tokens_at(backbone: Backbone, size: Size) -> int:
    """How many patch tokens an image of this size has."""
    device = next(iter(backbone.parameters())).device
    with in_evaluation(backbone), torch.no_grad():
        return backbone.features(torch.zeros(1, 3, *size, device=device)).patches.shape[1]


def fitted(backbone: Backbone, size: Size, *, hint: str) -> Backbone:
    """The backbone for images of this size: itself, or a copy whose table of positions is resized.

    Raises UserError with this hint for a network that takes images of one size only.
    """
    try:
        tokens_at(backbone, size)
        return backbone
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, RuntimeError, ValueError) as refusal:
        network = deepcopy(backbone)
        resize = getattr(network.exported, "set_input_size", None)
        if resize is None:
            raise no_such_size(backbone, size, hint) from refusal
    try:
        resize(img_size=size)
        tokens_at(network, size)
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, RuntimeError, ValueError, TypeError) as refusal:
        raise no_such_size(backbone, size, hint) from refusal
    return network


def no_such_size(backbone: Backbone, size: Size, hint: str) -> UserError:
    """The error for images that the network cannot take."""
    name = type(backbone.exported).__name__
    return UserError(f"{name} takes no images of {size[0]} x {size[1]} pixels", hint)
