"""A timm ResNet behind the contract of a backbone: the places of its last map are the tokens.

Stride sits on the 3x3 convolution of a bottleneck ("v1.5"), as timm and torchvision have it.
"""

from typing import Any

import timm
import torch
from timm.models.resnet import ResNet
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError, did_you_mean
from sslcli.nn.backbone import Backbone
from sslcli.nn.features import Features
from sslcli_resnet.options import ResnetOptions
from sslcli_resnet.padding import pad_as_tensorflow

STAGES = (64, 128, 256, 512)  # channels inside the blocks of each stage


class Resnet(Backbone):
    """Residual network (arXiv 1512.03385). `features(images).pooled` is what timm's `forward` gives.

    It has batch norm, so the images of one forward see each other while training.
    """

    abilities = frozenset()
    mixes_batch = True
    prefix_tokens = 0

    def __init__(self, options: ResnetOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.arguments = model_arguments(options)
        self.model: Any = build_model(options)
        self.width = self.model.num_features
        self.depth = sum(len(stage) for stage in stages(self.model))
        self.patch_size = 8 if options.stem == "small" else 32
        side = -(-context.image_size // self.patch_size)  # every halving rounds up
        self.grid = (side, side)

    def features(self, images: Tensor) -> Features:
        """Features of normalised images `[B, 3, H, W]`; tokens `[B, N, D]` are the last map row by row."""
        if self.options.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        last = self.model.forward_features(images)  # [B, D, rows, columns]
        tokens = last.flatten(2).transpose(1, 2)
        return Features(tokens, tokens, 0, self.model.forward_head(last))

    @property
    def exported(self) -> nn.Module:
        """The plain timm model, with its stem or padding changed where the options ask for it."""
        exported: nn.Module = self.model
        return exported

    def timm_config(self) -> dict[str, Any]:
        """Architecture and arguments of the same network in timm; nothing where stem or padding are not timm's."""
        options = self.options
        if options.stem == "small" or options.width_multiple > 1 or options.padding == "same":
            return {}
        architecture = timm.models.get_arch_name(options.architecture)
        return {"architecture": architecture, "model_args": self.arguments}


def build_model(options: ResnetOptions) -> Any:
    """The timm model, with its random start, in the memory format that convolutions like."""
    model = create(options.architecture, model_arguments(options) | {"drop_path_rate": options.drop_path})
    if options.stem == "small" or options.width_multiple > 1:
        change_stem(model, small=options.stem == "small", width=STAGES[0] * options.width_multiple)
    if options.padding == "same":
        pad_as_tensorflow(model)
    return model.to(memory_format=torch.channels_last) if options.channels_last else model


def model_arguments(options: ResnetOptions) -> dict[str, Any]:
    """Arguments of `timm.create_model` for the same network, apart from its stem and drop path."""
    wide = (
        {"channels": [channels * options.width_multiple for channels in STAGES]} if options.width_multiple > 1 else {}
    )
    return {"num_classes": 0, "zero_init_last": options.zero_init_last} | wide


def create(name: str, arguments: dict[str, Any]) -> Any:
    """The model as timm makes it."""
    if not timm.is_model(name):
        raise UserError(
            f"timm has no model {name!r} (backbone.model)", did_you_mean(name, timm.list_models(module="resnet"))
        )
    try:
        model = timm.create_model(name, **arguments)
    except TypeError as failure:
        raise not_a_resnet(name, f"timm says: {failure}") from None
    if type(model) is not ResNet:
        raise not_a_resnet(name, f"it is a {type(model).__name__}")
    return model


def not_a_resnet(name: str, reason: str) -> UserError:
    """The error for a timm model of another class."""
    hint = "choose one such as resnet50, or for a vision transformer the backbone 'vit'"
    return UserError(f"the model {name!r} is no ResNet of timm: {reason}", hint)


def stages(model: Any) -> list[nn.Sequential]:
    """The four stages of residual blocks."""
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def change_stem(model: Any, *, small: bool, width: int) -> None:
    """Another first convolution, with what hangs on its width: timm has no argument for it.

    Wide networks (RELICv2, arXiv 2201.05119) widen the stem with the stages; the small stem keeps the picture's size.
    """
    if not isinstance(model.conv1, nn.Conv2d):
        raise UserError(
            "the model has a deep stem, which options 'stem' and 'width_multiple' cannot change", "choose resnet50"
        )
    model.conv1 = started(
        nn.Conv2d(3, width, 3, 1, 1, bias=False) if small else nn.Conv2d(3, width, 7, 2, 3, bias=False)
    )
    model.bn1 = type(model.bn1)(width)
    if small:
        model.maxpool = nn.Identity()
    if width != STAGES[0]:
        widen_entry(model.layer1[0], width)


def widen_entry(block: Any, width: int) -> None:
    """Let the first residual block take a wider stem; the shortcut of basic blocks needs no convolution then."""
    block.conv1 = started(with_inputs(block.conv1, width))
    if block.downsample is not None and block.expansion == 1:
        block.downsample = None  # as wide in as out: the shortcut is the identity
    elif block.downsample is not None:
        block.downsample[0] = started(with_inputs(block.downsample[0], width))


def with_inputs(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A bias-free convolution like this one, for another number of input channels."""
    return nn.Conv2d(channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, bias=False)  # type: ignore[arg-type]


def started(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with timm's random start."""
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
