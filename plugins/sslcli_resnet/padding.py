"""`SAME` padding, as TensorFlow and Haiku pad: as little as a stride needs, and the odd one below and to the right.

    224 pixels, 7x7 at stride 2:  2 before, 3 after     where timm has 3 and 3
    112 pixels, 3x3 at stride 2:  0 before, 1 after                    1 and 1
    any number, 3x3 at stride 1:  1 before, 1 after                    1 and 1

Both give maps of the same size, shifted by a pixel, so weights that learned with the one lose accuracy with the other.
"""

from typing import Any

from timm.layers import Conv2dSame, create_pool2d
from torch import nn


def pad_as_tensorflow(model: nn.Module) -> None:
    """Let every convolution and max-pooling with a stride pad as TensorFlow does; names and values of weights stay."""
    for name, layer in list(model.named_modules()):
        same = same_layer(layer)
        if same is not None:
            model.set_submodule(name, same)


def same_layer(layer: nn.Module) -> nn.Module | None:
    """The layer with `SAME` padding; None where it pads so already, or never pads."""
    if isinstance(layer, nn.MaxPool2d):
        pool: nn.Module = create_pool2d("max", layer.kernel_size, layer.stride, padding="same")  # pads with -infinity
        return pool
    if isinstance(layer, nn.Conv2d) and max(layer.stride) > 1 and max(layer.kernel_size) > 1:
        return same_convolution(layer)
    return None


def same_convolution(layer: nn.Conv2d) -> nn.Module:
    """The convolution with the same parameters, padded as the size of each map asks."""
    like: dict[str, Any] = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    same: nn.Module = Conv2dSame(
        layer.in_channels, layer.out_channels, layer.kernel_size, bias=layer.bias is not None, **like
    )
    same.load_state_dict(layer.state_dict())
    return same
