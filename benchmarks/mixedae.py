"""A training step of MixedAE against one of MAE for equally many clean images, in one run.

    python benchmarks/mixedae.py [--recipe vit_base-imagenet-800ep] [--batch 16] [--blocks 6] [--json]

Both are the recipes as they stand, `mae/…` and `mixedae/…`, on the demo pictures: photometric work, mixing, forward,
backward, optimizer. Crops are cut beforehand, so the loader is out of the picture. Single steps alternate between the
two; the ratios are of the medians, of the time that passed and of the processors' time, which tells more on a busy
machine. They should be at most 1.10.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable

from sslcli.api import Progress
from sslcli.recipe import load_recipe
from sslcli.training.session import Session

METHODS = ("mae", "mixedae")


class Silent:
    """Nobody is told."""

    def record(self, record: object, context: object) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def make_step(recipe: str, arguments: argparse.Namespace) -> Callable[[], None]:
    """One training step of a recipe, again and again on a few batches."""
    changes = ["data.train=demo", "data.workers=0", f"train.batch_size={arguments.batch}", *arguments.set]
    session = Session.open(load_recipe(recipe, changes), Silent(), trackers=False)
    pretraining = session.model()
    loop = session.loop(pretraining)
    ready = session.loader(pretraining).batches(0, 3)
    batches = itertools.cycle([batch.to(session.accelerator.device) for batch in ready])
    pretraining.train()

    def step() -> None:
        loop.train_step(batches, Progress(loop.step, loop.context.steps, loop.context.steps_per_epoch))
        loop.step += 1
        loop.means.take()  # waits for the device

    return step


def measure(arguments: argparse.Namespace) -> dict[str, float | str]:
    """Seconds a step of both, and their ratio."""
    steps = {method: make_step(f"{method}/{arguments.recipe}", arguments) for method in METHODS}
    seconds: dict[str, list[tuple[float, ...]]] = {method: [] for method in METHODS}
    for block in range(arguments.blocks + 1):
        for method in METHODS if block % 2 else METHODS[::-1]:
            began = clocks()
            steps[method]()
            if block:  # the first block warms up
                seconds[method].append(tuple(now - then for now, then in zip(clocks(), began)))
    medians = {method: [statistics.median(clock) for clock in zip(*taken)] for method, taken in seconds.items()}
    return {
        "recipe": arguments.recipe,
        "batch": arguments.batch,
        **{f"{method}_seconds": round(passed, 4) for method, (passed, _) in medians.items()},
        "ratio": round(medians["mixedae"][0] / medians["mae"][0], 4),
        "processor_ratio": round(medians["mixedae"][1] / medians["mae"][1], 4),
    }


def clocks() -> tuple[float, ...]:
    """Seconds that passed, and seconds that processors worked."""
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="vit_base-imagenet-800ep", help="a recipe that both methods have")
    parser.add_argument("--batch", type=int, default=16, help="clean images of a step")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", action="store_true")
    found = measure(arguments := parser.parse_args())
    print(json.dumps(found) if arguments.json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
