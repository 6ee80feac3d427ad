"""A training step of sslcli against the bare PyTorch loop of the same maths, on the same batches, in one run.

    python benchmarks/step.py [--recipe simclr/tiny] [--blocks 12] [--steps 6] [--json]

Both sides get uint8 crops that were cut beforehand, so the loader is out of the picture. The bare side is what one
would write by hand for this recipe: photometric work, one forward of all crops, the loss, backward, fused AdamW, the
rate set every step. Blocks of steps alternate between the two; the ratio is of the medians over blocks.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

import torch

from sslcli.api import Progress
from sslcli.data.batch import Batch
from sslcli.recipe import load_recipe
from sslcli.training.loop import Loop
from sslcli.training.pretraining import Pretraining
from sslcli.training.session import Session


class Silent:
    """Nobody is told."""

    def record(self, record: object, context: object) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def make_loop(recipe_name: str) -> tuple[Loop, list[Batch]]:
    """A loop at its start, and a few batches of its recipe."""
    session = Session.open(load_recipe(recipe_name, ["data.workers=0"]), Silent(), trackers=False)
    pretraining = session.model()
    loop = session.loop(pretraining)
    return loop, [batch.to(session.accelerator.device) for batch in session.loader(pretraining).batches(0, 3)]


def bare_step(model: Pretraining, optimizer: torch.optim.Optimizer, batches: "itertools.cycle[Batch]") -> None:
    """The step by hand: views, one forward, loss, backward, optimizer."""
    batch = next(batches)
    for group in optimizer.param_groups:
        group["lr"] = 1e-4
    with torch.no_grad():
        name, augmentation = next(iter(model.views.items()))
        crops = batch.crops[name]
        draws = {key: draw.flatten(0, 1) for key, draw in batch.draws[name].items()}
        images = augmentation.finish(crops.flatten(0, 1), draws).unflatten(0, crops.shape[:2])
    step = BareStep(model, images, batch)
    loss = next(iter(model.losses.values()))(step)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


class BareStep:
    """Just enough of a step for one loss."""

    def __init__(self, model: Pretraining, images: torch.Tensor, batch: Batch) -> None:
        self.backbone, self.all_images, self.batch, self.model = model.student, images, batch, model

    def images(self, view: str) -> torch.Tensor:
        """All crops."""
        return self.all_images

    def student(self, view: str) -> object:
        """One forward of all crops."""
        return self.backbone.features(self.all_images.flatten(0, 1)).unflatten(len(self.all_images))

    def uniform(self, key: str, *shape: int) -> torch.Tensor:
        """Plain random numbers."""
        return torch.rand(len(self.batch.columns["index"]), *shape)

    def log(self, name: str, value: torch.Tensor) -> None:
        """Nothing."""


def measure(recipe: str, blocks: int, steps: int) -> dict[str, float | str]:
    """Seconds a step of both sides, and their ratio."""
    (loop, batches), (other, _) = make_loop(recipe), make_loop(recipe)
    endless, again = itertools.cycle(batches), itertools.cycle(batches)
    bare_optimizer = torch.optim.AdamW(
        [parameter for parameter in other.pretraining.parameters() if parameter.requires_grad], lr=1e-4, fused=True
    )
    loop.pretraining.train()

    def ours() -> None:
        progress = Progress(loop.step, loop.context.steps, loop.context.steps_per_epoch)
        loop.train_step(endless, progress)
        loop.step += 1
        if loop.step % loop.recipe.train.log_every_steps == 0:
            loop.means.take()

    sides: dict[str, Callable[[], None]] = {
        "sslcli": ours,
        "bare": lambda: bare_step(other.pretraining, bare_optimizer, again),
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for block in range(blocks + 1):
        for name, side in sides.items() if block % 2 else reversed(list(sides.items())):
            began = time.perf_counter()
            for _ in range(steps):
                side()
            if block:  # the first block warms up
                seconds[name].append((time.perf_counter() - began) / steps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "recipe": recipe,
        "sslcli_seconds": round(medians["sslcli"], 5),
        "bare_seconds": round(medians["bare"], 5),
        "ratio": round(medians["sslcli"] / medians["bare"], 4),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="simclr/tiny")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.recipe, arguments.blocks, arguments.steps)
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"{found['recipe']}, seconds a step: sslcli {found['sslcli_seconds']}, bare {found['bare_seconds']}")
        print(f"ratio {found['ratio']}")


if __name__ == "__main__":
    main()
