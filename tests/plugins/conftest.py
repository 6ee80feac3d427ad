"""Networks as Haiku would write them, and their features by hand: every padding said, nothing of timm's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

Modules = dict[str, dict[str, Any]]
ROOT = "res_net50/~/"


@dataclass
class HaikuNetwork:
    """Parameters and state by module, and how many blocks each group has."""

    blocks: tuple[int, ...]
    params: Modules = field(default_factory=dict, repr=False)
    state: Modules = field(default_factory=dict, repr=False)

    def features(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W]` to `[B, D]`, in 64 bits."""
        maps = self.norm("initial_batchnorm", self.conv("initial_conv", images.double(), stride=2)).relu()
        maps = F.max_pool2d(same(maps, 3, 2, value=-torch.inf), 3, 2)
        for group, count in enumerate(self.blocks):
            for block in range(count):
                maps = self.block(f"block_group_{group}/~/block_{block}/~/", maps, 2 if group and not block else 1)
        return maps.mean((2, 3))

    def block(self, path: str, maps: Tensor, stride: int) -> Tensor:
        """A bottleneck: the stride is that of the 3x3 convolution."""
        inner = maps
        for number in range(3):
            inner = self.conv(f"{path}conv_{number}", inner, stride=stride if number == 1 else 1)
            inner = self.norm(f"{path}batchnorm_{number}", inner)
            inner = inner.relu() if number < 2 else inner
        if f"{ROOT}{path}shortcut_conv" in self.params:
            maps = self.norm(f"{path}shortcut_batchnorm", self.conv(f"{path}shortcut_conv", maps, stride=stride))
        return (inner + maps).relu()

    def conv(self, module: str, maps: Tensor, stride: int) -> Tensor:
        """A convolution whose kernel is `[height, width, in, out]`."""
        kernel = torch.from_numpy(self.params[ROOT + module]["w"]).double().permute(3, 2, 0, 1)
        return F.conv2d(same(maps, kernel.shape[-1], stride), kernel, stride=stride)

    def norm(self, module: str, maps: Tensor) -> Tensor:
        """Batch norm with the averages of training."""
        mean, variance = (self.state[f"{ROOT}{module}/~/{part}"]["average"] for part in ("mean_ema", "var_ema"))
        scale, offset = (self.params[ROOT + module][part] for part in ("scale", "offset"))
        mean, variance, scale, offset = (
            torch.from_numpy(part).double().reshape(1, -1, 1, 1) for part in (mean, variance, scale, offset)
        )
        return (maps - mean) / (variance + 1e-5).sqrt() * scale + offset


def same(maps: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Square maps padded as TensorFlow does: the smaller half before, the larger after."""
    side = maps.shape[-1]
    total = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
    before, after = total // 2, total - total // 2
    return F.pad(maps, (before, after, before, after), value=value)


def layers(blocks: tuple[int, ...], widths: tuple[int, ...], stem: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Each convolution without its kind, such as `block_0/~/{}_1`: side of the kernel, channels in and out."""
    yield "initial_{}", (7, 3, stem)
    inside = stem
    for group, (count, width) in enumerate(zip(blocks, widths)):
        for block in range(count):
            path = f"block_group_{group}/~/block_{block}/~/"
            if not block:
                yield path + "shortcut_{}", (1, inside, 4 * width)
            for number, sizes in enumerate(((1, inside, width), (3, width, width), (1, width, 4 * width))):
                yield path + f"{{}}_{number}", sizes
            inside = 4 * width


def random_network(blocks: tuple[int, ...], widths: tuple[int, ...], stem: int, seed: int) -> HaikuNetwork:
    """A network with numbers that tell every tensor from every other; `hidden` is not `average`."""
    draw = numpy.random.default_rng(seed)
    network = HaikuNetwork(blocks)
    for path, (side, inside, out) in layers(blocks, widths, stem):
        kernel = draw.standard_normal((side, side, inside, out), dtype=numpy.float32)
        network.params[ROOT + path.format("conv")] = {"w": kernel * (2 / (side * side * inside)) ** 0.5}
        norm, shape = ROOT + path.format("batchnorm"), (1, 1, 1, out)
        offset, mean = (0.2 * draw.standard_normal(shape, dtype=numpy.float32) for _ in range(2))
        scale, variance = (0.5 + draw.random(shape, dtype=numpy.float32) for _ in range(2))
        network.params[norm] = {"scale": scale, "offset": offset}
        for name, average in (("mean_ema", mean), ("var_ema", variance)):
            hidden = {"hidden": average / 3, "average": average, "counter": numpy.array(7, numpy.int32)}
            network.state[f"{norm}/~/{name}"] = hidden
    return network


MakeNetwork = Callable[..., HaikuNetwork]


@pytest.fixture(scope="session")
def haiku_network() -> MakeNetwork:
    """`haiku_network(blocks, widths, stem, seed)`: a random network, by default a small one with ResNet-50's stem."""

    def make(
        blocks: tuple[int, ...] = (2, 1, 1, 2),
        widths: tuple[int, ...] = (4, 6, 8, 12),
        stem: int = 64,
        seed: int = 0,
    ) -> HaikuNetwork:
        return random_network(blocks, widths, stem, seed)

    return make


@pytest.fixture(scope="session")
def haiku_resnet50(haiku_network: MakeNetwork) -> HaikuNetwork:
    """A whole ResNet-50."""
    return haiku_network((3, 4, 6, 3), (64, 128, 256, 512))


def heads() -> tuple[Modules, Modules]:
    """Parameters and state of projector, predictor and classifier, as BYOL's experiment has them."""
    linear = {"w": numpy.zeros((2, 3), numpy.float32), "b": numpy.zeros(3, numpy.float32)}
    norm = {"scale": numpy.ones((1, 3), numpy.float32), "offset": numpy.zeros((1, 3), numpy.float32)}
    average = {"average": norm["scale"], "hidden": norm["scale"], "counter": numpy.array(7, numpy.int32)}
    mlp = {"linear": linear, "batch_norm": norm, "linear_1": {"w": linear["w"]}}
    params = {f"{head}/{name}": leaves for head in ("projector", "predictor") for name, leaves in mlp.items()}
    states = {
        f"{head}/batch_norm/~/{name}": average
        for head in ("projector", "predictor")
        for name in ("mean_ema", "var_ema")
    }
    return {**params, "classifier": linear}, states


@pytest.fixture(scope="session")
def haiku_heads() -> tuple[Modules, Modules]:
    """Parameters and state of what stands beside the network in BYOL's files."""
    return heads()


def with_devices(modules: Mapping[str, Mapping[str, Any]], devices: int = 2) -> Modules:
    """Every tensor as a stack of copies, of which the first is the right one."""
    return {
        module: {name: numpy.stack([value, *[value * 0] * (devices - 1)]) for name, value in leaves.items()}
        for module, leaves in modules.items()
    }


@pytest.fixture(scope="session")
def on_devices() -> Callable[..., Modules]:
    """`on_devices(modules, devices)`: the modules with an axis of devices before the others."""
    return with_devices
