"""A training step of PatchMix against the plain step of MoCo v3 on the same backbone and images, in one run.

    python benchmarks/patchmix.py [--recipe patchmix/vit_small-imagenet] [--batch 8] [--blocks 6] [--device cuda]

The other side is the same recipe with `moco_v3` in the place of its losses, and with its two large crops alone: four
forwards of whole images. What PatchMix adds is the mixing, mixed forwards in their place and one more of the teacher,
and the small crops where the recipe has them. Views are made beforehand, so the loader and the photometric work are out
of the picture; the mixing is in it. Single steps alternate between the two; the ratio is of their medians, with the
spread from the first to the third quartile.
"""

import argparse
import json
import statistics
import time
from typing import Any

import torch

from sslcli.api import Progress
from sslcli.nn.momentum import update_all
from sslcli.recipe import load_recipe, recipe_from_document
from sslcli.recipe.tables import Recipe
from sslcli.training import optimizer as rules
from sslcli.training.building import build_backbone, build_pretraining, context_of

SAMPLES = 50_000
HEADS = ("hidden", "output", "projector_layers", "predictor_layers", "temperature")


def plain(recipe: Recipe) -> Recipe:
    """The recipe with MoCo v3's loss in place of its own, on the same heads."""
    document = dict(recipe.document)
    loss = {name: document["loss"][0][name] for name in HEADS}
    document |= {"views": {"global": document["views"]["global"]}, "loss": [{"name": "moco_v3", **loss}]}
    return recipe_from_document(document, origin="the benchmark")


class Side:
    """A model, its optimizer and the views of a step; the mixed groups are made in the step."""

    def __init__(self, recipe: Recipe, device: torch.device, precision: torch.dtype | None) -> None:
        self.context = context_of(recipe, samples=SAMPLES)
        backbone = build_backbone(recipe, self.context)
        self.model = build_pretraining(recipe, self.context, backbone).to(device).train()
        groups = rules.parameter_groups(self.model, self.model.student, recipe.optimizer)
        self.optimizer = rules.make_optimizer(groups, recipe.optimizer, 1e-4)
        self.precision, self.device, size = precision, device, self.context.batch_size
        generator = torch.Generator().manual_seed(0)
        images = {
            group: torch.randn(shape.crops, size, 3, shape.size, shape.size, generator=generator).to(device)
            for group, shape in self.context.views.items()
            if group in recipe.views
        }
        self.model.finish = lambda group, batch: images[group]  # type: ignore[method-assign]
        epoch = torch.zeros(size, dtype=torch.int64, device=device)
        self.batch: Any = argparse.Namespace(columns={"index": torch.arange(size, device=device), "epoch": epoch})

    def step(self) -> float:
        """Mixing, forward, backward, optimizer, teacher; the loss."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not None):
            loss = self.model(self.batch, Progress(0, self.context.steps, self.context.steps_per_epoch))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        update_all(self.model, 0.996)
        value: float = loss.item()  # waits for the device
        return value

    def mix(self) -> None:
        """The mixing alone."""
        self.model.make_views(self.batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def timed(call: Any) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step of either, their ratio, and those of the mixing alone."""
    recipe = load_recipe(
        arguments.recipe, [f"train.batch_size={arguments.batch}", "views.mixed.ring=0", *arguments.set]
    )
    precision = torch.bfloat16 if arguments.device == "cuda" else None
    device = torch.device(arguments.device)
    sides = {"patchmix": Side(recipe, device, precision), "moco_v3": Side(plain(recipe), device, precision)}
    calls = {"patchmix": sides["patchmix"].step, "moco_v3": sides["moco_v3"].step, "mixing": sides["patchmix"].mix}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for block in range(arguments.blocks + 1):
        for name in calls if block % 2 else reversed(calls):
            seconds[name].append(timed(calls[name]))
    medians = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first block warms up
    ratios = [patchmix / plain for patchmix, plain in zip(seconds["patchmix"][1:], seconds["moco_v3"][1:])]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "recipe": arguments.recipe,
        "batch": arguments.batch,
        "device": arguments.device,
        **{f"{name}_seconds": round(value, 4) for name, value in medians.items()},
        "ratio": round(medians["patchmix"] / medians["moco_v3"], 3),
        "ratio_quartiles": [round(low, 3), round(high, 3)],
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="patchmix/tiny")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    found = measure(arguments := parser.parse_args())
    if arguments.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
