"""Crops of two sizes through a vision transformer: packed into one forward, against one forward for each size.

    OMP_NUM_THREADS=2 python benchmarks/packing.py [--shapes vit_small|tiny] [--device cuda] [--autocast] [--compile]
                                                   [--images 2] [--blocks 20] [--steps 1] [--json]

Both sides have the same network, the same crops and the same sum of squares to go backward from; a step is embed,
encode, backward. Blocks of steps alternate between the two; the ratio is of the medians over blocks, and the largest
gap is that of the gradients, in shares of the largest gradient.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.nn import Backbone, Features
from sslcli.plugins import load_registry, resolve

Encode = Callable[[Backbone, Sequence[Tensor]], list[Features]]


class Shapes(NamedTuple):
    """A network, and the crops of one picture: how many, of how many pixels a side."""

    options: dict[str, Any]  # of the backbone `vit`
    crops: tuple[tuple[int, int], ...]


SHAPES = {
    "vit_small": Shapes({"drop_path": 0.1}, ((2, 224), (10, 96))),  # the student of Mugs and DINO
    "tiny": Shapes({"width": 96, "depth": 4, "heads": 3, "patch_size": 8}, ((2, 32), (4, 16))),
}


class Side:
    """One way to encode, with gradients of its own."""

    def __init__(
        self, encode: Encode, backbone: Backbone, images: Sequence[Tensor], *, compiled: bool, autocast: bool
    ) -> None:
        self.encode = torch.compile(encode) if compiled else encode
        self.backbone, self.images, self.autocast = backbone, images, autocast

    def step(self) -> None:
        """Forward and backward."""
        self.backbone.zero_grad(set_to_none=True)
        with torch.autocast(self.images[0].device.type, torch.bfloat16, enabled=self.autocast):
            features = self.encode(self.backbone, self.images)
        sum(part.tokens.float().square().mean() for part in features).backward()  # type: ignore[union-attr]

    def gradients(self) -> Tensor:
        """All gradients of a step without chance, as one vector."""
        self.backbone.eval()
        self.step()
        self.backbone.train()
        found = [parameter.grad for parameter in self.backbone.parameters() if parameter.grad is not None]
        return torch.cat([gradient.flatten() for gradient in found])


def build(shapes: Shapes) -> Backbone:
    """The vision transformer for crops of these sizes."""
    offer = load_registry().find("backbone", "vit")
    backbone: Backbone = resolve(offer.code)(offer.options(**shapes.options), Context(image_size=shapes.crops[0][1]))
    return backbone


def apart(backbone: Backbone, images: Sequence[Tensor]) -> list[Features]:
    """One forward for each size."""
    return [backbone.encode(backbone.embed(crops)) for crops in images]


def together(backbone: Backbone, images: Sequence[Tensor]) -> list[Features]:
    """One forward of all."""
    return backbone.encode_together([backbone.embed(crops) for crops in images])


def measure(name: str, device: str, *, images: int, blocks: int, steps: int, **how: bool) -> dict[str, Any]:
    """Seconds a step of both sides, and their ratio."""
    torch.manual_seed(0)
    shapes = SHAPES[name]
    backbone = build(shapes).to(device).train()
    batch = [torch.randn(count * images, 3, size, size, device=device) for count, size in shapes.crops]
    sides = {kind: Side(encode, backbone, batch, **how) for kind, encode in (("packed", together), ("apart", apart))}
    one, other = (side.gradients() for side in sides.values())
    seconds = alternate(sides, torch.device(device), blocks=blocks, steps=steps)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    return {
        "shapes": name,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "images": images,
        **how,
        "packed_seconds": round(medians["packed"], 6),
        "apart_seconds": round(medians["apart"], 6),
        "ratio": round(medians["packed"] / medians["apart"], 4),
        "gap": ((one - other).abs().max() / other.abs().max()).item(),
    }


def alternate(sides: dict[str, Side], device: torch.device, *, blocks: int, steps: int) -> dict[str, list[float]]:
    """Seconds a step of every block, by side; the first block of each warms up and is not counted."""
    seconds: dict[str, list[float]] = {kind: [] for kind in sides}
    for block in range(blocks + 1):
        for kind in sides if block % 2 else reversed(list(sides)):
            began = now(device)
            for _ in range(steps):
                sides[kind].step()
            if block:
                seconds[kind].append((now(device) - began) / steps)
    return seconds


def now(device: torch.device) -> float:
    """The time, once the device has done what it was asked."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", choices=SHAPES, default="vit_small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=2, help="pictures in a batch")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=1, help="in a block")
    parser.add_argument("--autocast", action="store_true", help="to bf16")
    parser.add_argument("--compile", action="store_true", dest="compiled")
    parser.add_argument("--json", action="store_true")
    arguments = vars(parser.parse_args())
    as_json = arguments.pop("json")
    found = measure(arguments.pop("shapes"), arguments.pop("device"), **arguments)
    if as_json:
        print(json.dumps(found))
    else:
        print(f"{found['shapes']}, seconds a step: packed {found['packed_seconds']}, apart {found['apart_seconds']}")
        print(f"ratio {found['ratio']}, gap of the gradients {found['gap']:.1e}")


if __name__ == "__main__":
    main()
