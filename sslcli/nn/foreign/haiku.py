"""Residual networks with Haiku's names, by timm's names.

    parameters  res_net50/~/initial_conv                             w [height, width, in, out]
                res_net50/~/block_group_0/~/block_0/~/batchnorm_1    scale, offset [1, 1, 1, channels]
    state       res_net50/~/block_group_0/~/block_0/~/batchnorm_1/~/mean_ema, var_ema    average, hidden, counter

Running statistics are `average`: `hidden` leans towards the zero that it starts from. There may be an axis more, the
first, of devices with equal copies; the first copy is taken. The network pads as TensorFlow does: the backbone `resnet`
needs `padding = "same"`.

This room is the host's because two plugins read such networks and a plugin imports no other. It knows the names of one
library for one architecture, and no method.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn.foreign.experiments import listed, values_of
from sslcli.nn.foreign.stored_arrays import StoredArray

FIRST = "initial_conv"
STEM = {"initial_conv": "conv1", "initial_batchnorm": "bn1"}
IN_BLOCK = re.compile(r"block_group_([0-3])/~/block_(\d{1,3})/~/(\w+)")
LAYERS = {
    **{f"conv_{number}": f"conv{number + 1}" for number in range(3)},
    **{f"batchnorm_{number}": f"bn{number + 1}" for number in range(3)},
    **{"shortcut_conv": "downsample.0", "shortcut_batchnorm": "downsample.1"},
}
STATISTIC = re.compile(r"(.+)/~/(mean_ema|var_ema)")
PARTS = {  # by the last name of the module, where it keeps a statistic, and the tensor's; empty: of no use here
    **{("", "w"): "weight", ("", "scale"): "weight", ("", "offset"): "bias"},
    **{("mean_ema", "average"): "running_mean", ("var_ema", "average"): "running_var"},
    **{("mean_ema", "counter"): "num_batches_tracked", ("var_ema", "counter"): ""},
    **{("mean_ema", "hidden"): "", ("var_ema", "hidden"): ""},
}
DEPTHS: Mapping[tuple[int, ...], int] = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152, (3, 24, 36, 3): 200}
WIDTH = 64  # channels of the first convolution at a width multiple of 1
Leaf = tuple[str, str, Any]  # module, name in it, value


@dataclass(frozen=True)
class HaikuResnet:
    """A network, and what was beside it."""

    weights: Mapping[str, Tensor]  # by timm's names
    blocks: tuple[int, ...]  # in each of the four groups
    heads: Mapping[str, int]  # parameters beside the network, by the module that they are in
    devices: int  # copies that the file has; 0 where it has no axis for them

    def size(self) -> tuple[int, int]:
        """Depth and multiple of the width. Raises UserError for a size that no known network has."""
        channels = self.weights["conv1.weight"].shape[0]
        multiple, rest = divmod(channels, WIDTH)
        depth = DEPTHS.get(self.blocks)
        if depth is None or rest or not multiple:
            raise UserError(
                f"no network is known with {'+'.join(map(str, self.blocks))} blocks and {channels} channels at first",
                f"known are depths of {', '.join(map(str, DEPTHS.values()))}, and multiples of {WIDTH} channels",
            )
        return depth, multiple

    def said(self) -> str:
        """What was taken and what was left out, in words."""
        depth, multiple = self.size()
        wide = f" ({multiple}x)" if multiple > 1 else ""
        copies = f", the first of {self.devices} copies" if self.devices else ""
        heads = ", ".join(f"{count} of {module}" for module, count in self.heads.items())
        left_out = f"left out: parameters of heads, {heads}" if heads else "there are no heads"
        return f"ResNet-{depth}{wide}: {len(self.weights)} tensors of its backbone{copies}; {left_out}"


def size_name(depth: int, multiple: int) -> str:
    """A size as recipes call it: resnet50, resnet50x2."""
    return f"resnet{depth}" + (f"x{multiple}" if multiple > 1 else "")


def resnet_of(params: Mapping[str, Any], state: Mapping[str, Any]) -> HaikuResnet:
    """The residual network among the modules of a network. Raises UserError, which names what is unknown."""
    prefix = prefix_of(params)
    heads = Counter(module.partition("/")[0] for module, _, _ in leaves_of(params) if not module.startswith(prefix))
    leaves = (*leaves_of(params), *leaves_of(state))
    named = by_timms_names(
        (module.removeprefix(prefix), name, value) for module, name, value in leaves if module.startswith(prefix)
    )
    devices = devices_of(named.get("conv1.weight"))
    weights = {name: in_timms_layout(name, value, devices) for name, value in named.items()}
    return HaikuResnet(weights, blocks_of(weights), heads, devices)


def prefix_of(params: Mapping[str, Any]) -> str:
    """What the names of the network's modules begin with, by the one that is its first convolution."""
    found = [str(module).removesuffix(FIRST) for module in params if str(module).endswith(f"/{FIRST}")]
    if len(found) != 1:
        raise UserError(
            f"the network has {len(found)} modules called {FIRST}: it holds {listed(params)}",
            "a residual network of Haiku has one",
        )
    return found[0]


def leaves_of(modules: Mapping[str, Any]) -> Iterator[Leaf]:
    """Module, name and value of each tensor."""
    for module, tensors in modules.items():
        if not isinstance(tensors, Mapping):
            raise UserError(f"{module} holds no tensors by name", "is this a network of Haiku?")
        yield from ((str(module), str(name), value) for name, value in tensors.items())


def by_timms_names(leaves: Iterable[Leaf]) -> dict[str, Any]:
    """The values that timm keeps, by its names. Those that are unknown, or there twice, are told."""
    named: dict[str, Any] = {}
    unknown: list[str] = []
    for module, leaf, value in leaves:
        name = timms_name(module, leaf)
        if name is None or name in named:
            unknown.append(f"{module}: {leaf}")
        elif name:
            named[name] = value
    if unknown:
        raise UserError(
            f"the network has tensors that are unknown, or there twice: {listed(unknown)}",
            "known are Haiku's residual networks of version 1",
        )
    return named


def timms_name(module: str, leaf: str) -> str | None:
    """timm's name of a tensor; empty for what timm does not keep, None for what is unknown."""
    found = STATISTIC.fullmatch(module)
    layer = timms_layer(found[1] if found else module)
    part = PARTS.get((found[2] if found else "", leaf))
    if layer is None or part is None:
        return None
    return part and f"{layer}.{part}"


def timms_layer(module: str) -> str | None:
    """timm's name of a layer, or None."""
    found = IN_BLOCK.fullmatch(module)
    if found is None:
        return STEM.get(module)
    layer = LAYERS.get(found[3])
    return layer and f"layer{int(found[1]) + 1}.{int(found[2])}.{layer}"


def devices_of(first: Any) -> int:
    """How many copies of each tensor there are, by the axes of the first convolution; 0 without an axis for them."""
    shape = tuple(first.shape) if isinstance(first, StoredArray | Tensor) else ()
    if len(shape) not in (4, 5):
        raise UserError(
            f"w of {FIRST} has the shape {list(shape)}", "it should be [height, width, in, out], or a stack of these"
        )
    return int(shape[0]) if len(shape) == 5 else 0


def in_timms_layout(name: str, value: Any, devices: int) -> Tensor:
    """One copy of a tensor as timm has it: convolutions `[out, in, height, width]`, norms `[channels]`, counts `[]`."""
    tensor = numbers_of(name, value)
    if devices:
        tensor = first_copy(name, tensor, devices)
    if name.endswith("num_batches_tracked"):
        return tensor.long().sum()
    if tensor.dim() == 4 and ("conv" in name or "downsample.0" in name):
        return tensor.permute(3, 2, 0, 1).float().contiguous()
    return tensor.float().flatten()


def numbers_of(name: str, value: Any) -> Tensor:
    """The numbers of an array. Raises UserError with its name."""
    if not isinstance(value, StoredArray | Tensor):
        raise UserError(f"{name} is no array, but a {type(value).__name__}", "is the file whole?")
    try:
        return values_of(value)
    except UserError as failure:
        raise UserError(f"{name}: {failure.message}", failure.hint) from None


def first_copy(name: str, tensor: Tensor, devices: int) -> Tensor:
    """The copy of the first device."""
    if tensor.shape[:1] != (devices,):
        raise UserError(f"{name} is {list(tensor.shape)}, where other tensors have {devices} copies", "is it whole?")
    return tensor[0]


def blocks_of(names: Iterable[str]) -> tuple[int, ...]:
    """How many blocks each group has, by the number of its last one."""
    found = [re.match(r"layer(\d)\.(\d+)\.", name) for name in names]
    numbers = [(int(match[1]), int(match[2])) for match in found if match]
    return tuple(max((block + 1 for group, block in numbers if group == place), default=0) for place in range(1, 5))
