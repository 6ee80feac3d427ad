"""A top-1 layer of experts against the dense MLP of the same active size, forward and backward, in one run.

    python benchmarks/experts.py [--width 384] [--images 64] [--tokens 50] [--experts 8] [--rounds 20] [--device cuda]

Two routings are timed: all tokens of an image to one expert (`moce.cluster`), and every token on its own (`token`).
Gates are random and as good as balanced. Single calls alternate; ratios are of medians, with their quartiles.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from sslcli.nn.experts import Experts, Route


class Given(nn.Module):
    """Gates that were drawn beforehand, `[B, N, E]` or `[B, 1, E]`, with a gradient."""

    def __init__(self, gates: Tensor) -> None:
        super().__init__()
        self.gates = nn.Parameter(gates)

    def forward(self, tokens: Tensor, columns: Mapping[str, Tensor] | None) -> Route:
        """The same every time."""
        return Route(self.gates)


def drawn(images: int, tokens: int, experts: int, generator: torch.Generator) -> Tensor:
    """Top-1 gates of random logits."""
    shares = torch.randn(images, tokens, experts, generator=generator).softmax(-1)
    return shares * nn.functional.one_hot(shares.argmax(-1), experts)


def seconds(layer: nn.Module, tokens: Tensor, *, backward: bool, precision: torch.dtype | None) -> float:
    """One call, with its gradient if so told."""
    began = time.perf_counter()
    with torch.set_grad_enabled(backward), torch.autocast(tokens.device.type, precision, enabled=precision is not None):
        output = layer(tokens)
    if backward:
        output.sum().backward()
        layer.zero_grad(set_to_none=True)
    if tokens.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Ratios of both routings to the dense MLP."""
    generator = torch.Generator().manual_seed(0)
    device = torch.device(arguments.device)
    dense = Mlp(arguments.width, 4 * arguments.width)
    forms = {"images": 1, "tokens": arguments.tokens}
    layers: dict[str, nn.Module] = {"dense": dense} | {
        form: Experts(dense, Given(drawn(arguments.images, count, arguments.experts, generator)), arguments.experts)
        for form, count in forms.items()
    }
    tokens = torch.randn(arguments.images, arguments.tokens, arguments.width, generator=generator).to(device)
    tokens.requires_grad_(True)
    precision = torch.bfloat16 if arguments.device == "cuda" else None
    found: dict[str, object] = {}
    for backward in (False, True):
        times: dict[str, list[float]] = {name: [] for name in layers}
        for number in range(arguments.rounds + 2):
            for name, layer in layers.items() if number % 2 else reversed(layers.items()):
                spent = seconds(layer.to(device), tokens, backward=backward, precision=precision)
                if number > 1:  # the first two warm up
                    times[name].append(spent)
        found |= {f"{name}_{'step' if backward else 'forward'}": ratio(times, name) for name in forms}
    return found


def ratio(times: Mapping[str, list[float]], name: str) -> dict[str, float]:
    """The ratio of medians to the dense layer's, and the quartiles of the single ratios."""
    low, _, high = statistics.quantiles([own / dense for own, dense in zip(times[name], times["dense"])], n=4)
    middle = statistics.median(times[name]) / statistics.median(times["dense"])
    return {"ratio": round(middle, 3), "low": round(low, 3), "high": round(high, 3)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"width": 384, "images": 64, "tokens": 50, "experts": 8, "rounds": 20}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print(json.dumps(vars(arguments) | measure(arguments), indent=1))


if __name__ == "__main__":
    main()
