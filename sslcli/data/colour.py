"""Colour as pure functions of images `[B, 3, H, W]` in [0, 1] and one number a sample, `[B]`, clamped after each.

The same as torchvision does with float images; `shift_brightness`, `scale_channel_contrast` and `scale_hsv_saturation`
are what BYOL's released code (arXiv:2006.07733) does instead.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # of red, green and blue, as torchvision weighs them


def luma(images: Tensor) -> Tensor:
    """How light each pixel is, `[B, 1, H, W]`."""
    red, green, blue = images.unbind(1)
    return (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2])[:, None]


def grey(images: Tensor) -> Tensor:
    """Images without colour, still of three channels."""
    return luma(images).expand_as(images)


def solarise(images: Tensor, threshold: float) -> Tensor:
    """Values from `threshold` on inverted."""
    return torch.where(images >= threshold, 1.0 - images, images)


def scale_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """All values times a factor."""
    return (images * broadcast(factor)).clamp(0.0, 1.0)


def scale_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """The distance to the mean lightness of the image times a factor."""
    return blend(images, luma(images).mean((2, 3), keepdim=True), factor)


def scale_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """The distance to the grey image times a factor."""
    return blend(images, luma(images), factor)


def shift_brightness(images: Tensor, amount: Tensor) -> Tensor:
    """An amount added to all values."""
    return (images + broadcast(amount)).clamp(0.0, 1.0)


def scale_channel_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """The distance of each channel to its own mean over the image times a factor."""
    return blend(images, images.mean((2, 3), keepdim=True), factor)


def scale_hsv_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """The saturation of HSV times a factor, at most 1; hue and the lightest channel keep their values."""
    lightest = images.amax(1, keepdim=True)
    chroma = lightest - images.amin(1, keepdim=True)
    most = torch.where(chroma == 0.0, torch.ones_like(chroma), lightest / chroma)  # factor at which saturation is 1
    return lightest - (lightest - images) * torch.minimum(broadcast(factor), most)


def shift_hue(images: Tensor, share: Tensor) -> Tensor:
    """The hue of HSV moved on by a share of the circle; lightest and darkest channel keep their values."""
    lightest, darkest = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = lightest - darkest
    turned = hue_sextant(images, lightest, chroma) + 6.0 * broadcast(share)
    offsets = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    phase = (offsets + turned).remainder(6.0)
    return lightest - chroma * torch.minimum(phase, 4.0 - phase).clamp(0.0, 1.0)


def hue_sextant(images: Tensor, lightest: Tensor, chroma: Tensor) -> Tensor:
    """The hue of HSV in sixths of the circle, `[B, 1, H, W]`: 0 is red, 2 green, 4 blue; 0 where there is no colour."""
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    divisor = torch.where(chroma == 0.0, torch.ones_like(chroma), chroma)
    from_green = (blue - red) / divisor + 2.0
    from_blue = (red - green) / divisor + 4.0
    return torch.where(red == lightest, (green - blue) / divisor, torch.where(green == lightest, from_green, from_blue))


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """`factor * images + (1 - factor) * other`, clamped."""
    factor = broadcast(factor)
    return (factor * images + (1.0 - factor) * other).clamp(0.0, 1.0)


def broadcast(number: Tensor) -> Tensor:
    """`[B]` to `[B, 1, 1, 1]`."""
    return number.view(-1, 1, 1, 1)
