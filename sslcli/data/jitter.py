"""Colour jitter: brightness, contrast, saturation and hue in a drawn order.

The fast form is one affine map of colours for each sample, in the way of DALI's ColorTwist: hue turns the colour plane
of YIQ, and values are clamped once, at the end. The other forms do one operation after another, and clamp each time:
torchvision's, and that of BYOL's released code.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from sslcli.data.augmentation import Draw
from sslcli.data.colour import (
    LUMA,
    scale_brightness,
    scale_channel_contrast,
    scale_contrast,
    scale_hsv_saturation,
    scale_saturation,
    shift_brightness,
    shift_hue,
)
from sslcli.data.draws import between
from sslcli.data.selected import where_drawn
from sslcli.data.settings import Jitter, chance_of

ColourOperation = Callable[[Tensor, Tensor], Tensor]  # images [B, 3, H, W] and one number a sample [B]
STEPS: dict[str, tuple[ColourOperation, ...]] = {  # the four operations of a form, as `order` counts them
    "torchvision": (scale_brightness, scale_contrast, scale_saturation, shift_hue),
    "deepmind": (shift_brightness, scale_channel_contrast, scale_hsv_saturation, shift_hue),
}
YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))  # from RGB


class ColourJitter:
    """Jitter as the options say."""

    numbers = 9  # that `draw` uses: the coin, four strengths, four for the order

    def __init__(self, settings: Jitter) -> None:
        self.settings = settings
        factors = [(max(0.0, 1.0 - s), 1.0 + s) for s in (settings.brightness, settings.contrast, settings.saturation)]
        if settings.form == "deepmind":
            factors[0] = (-settings.brightness, settings.brightness)  # added, not multiplied
        self.ranges = [*factors, (-settings.hue, settings.hue)]

    def draw(self, numbers: Sequence[float], crop: int) -> Draw:
        """`jittered`, the coin; `jitter [4]`, how much each operation does; `jitter_order [4]`."""
        factors = [between(number, *limits) for number, limits in zip(numbers[1:5], self.ranges)]
        order = sorted(range(4), key=numbers[5:9].__getitem__)
        return {
            "jittered": numbers[0] < chance_of(self.settings.probability, crop),
            "jitter": np.array(factors, dtype=np.float32),
            "jitter_order": np.array(order, dtype=np.int64),
        }

    def __call__(self, images: Tensor, draws: Mapping[str, Tensor]) -> Tensor:
        """Jittered images `[B, 3, H, W]`."""
        coin, factors, order = draws["jittered"], draws["jitter"], draws["jitter_order"]
        if self.settings.form == "fast":
            return twist(images, coin, factors, order)
        return where_drawn(coin, partial(one_by_one, STEPS[self.settings.form]), images, factors, order)


def one_by_one(operations: Sequence[ColourOperation], images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """The four operations one after another, each sample in its own order `[B, 4]`."""
    for place in order.unbind(1):
        for kind, operation in enumerate(operations):
            images = where_drawn(place == kind, operation, images, factors[:, kind])
    return images


def twist(images: Tensor, coin: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """One affine map of colours for each sample whose coin is true: `own x + shared mean(x)`, clamped to [0, 1]."""
    own, shared = twist_matrices(factors, order)
    own = own.where(coin.view(-1, 1, 1), torch.eye(3, device=own.device))
    shift = (shared * coin.view(-1, 1, 1)) @ images.mean((2, 3))[:, :, None]
    return torch.baddbmm(shift, own, images.flatten(2)).clamp_(0.0, 1.0).view_as(images)


def twist_matrices(factors: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """`own` and `shared`, `[B, 3, 3]`: what an image's colour, and what its mean colour, are multiplied by.

    Only contrast looks at the mean: it pulls towards the lightness of the mean colour, as it is by then.
    """
    steps, grey = step_matrices(factors), torch.tensor([LUMA] * 3, device=factors.device)
    own = torch.eye(3, device=factors.device).expand(len(factors), 3, 3)
    shared = torch.zeros_like(own)
    samples = torch.arange(len(factors), device=factors.device)
    for place in order.unbind(1):
        step = steps[samples, place]
        pull = torch.where(place == 1, 1.0 - factors[:, 1], 0.0).view(-1, 1, 1)
        own, shared = step @ own, step @ shared + pull * (grey @ (own + shared))
    return own, shared


def step_matrices(factors: Tensor) -> Tensor:
    """What each of the four operations multiplies a colour by, `[B, 4, 3, 3]`."""
    eye, grey = torch.eye(3, device=factors.device), torch.tensor([LUMA] * 3, device=factors.device)
    brightness, contrast, saturation, hue = factors.view(-1, 4, 1, 1).unbind(1)
    return torch.stack([brightness * eye, contrast * eye, saturation * eye + (1.0 - saturation) * grey, turn(hue)], 1)


def turn(share: Tensor) -> Tensor:
    """The colour plane of YIQ turned by a share of the circle `[B, 1, 1]`, from red to yellow; `[B, 3, 3]`."""
    to_yiq = torch.tensor(YIQ, dtype=torch.float64)
    to_rgb = torch.linalg.inv(to_yiq)
    still = to_rgb[:, :1] @ to_yiq[:1]
    along = to_rgb[:, 1:] @ to_yiq[1:]
    aside = to_rgb[:, 1:] @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64) @ to_yiq[1:]
    angle = 2.0 * math.pi * share
    still, along, aside = (part.to(share) for part in (still, along, aside))
    turned: Tensor = still + angle.cos() * along + angle.sin() * aside
    return turned
