"""How fast a recipe trains on this machine, and where the time goes."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from sslcli.data.batch import Batch
from sslcli.recipe.tables import Recipe
from sslcli.training.feeding import on_device
from sslcli.training.loop import Loop, Reporter
from sslcli.training.session import Session

T = TypeVar("T")
STAGES = ("loader", "augmentation", "forward", "backward", "optimizer", "other")


@dataclass
class Stopwatch:
    """Seconds by stage. On a GPU every stage waits for the device, so that it is charged for its own work."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def timed(self, stage: str, function: Callable[..., T]) -> Callable[..., T]:
        """The same function, its time added to a stage."""

        def wrapped(*arguments: Any, **named: Any) -> T:
            began = self.now()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[stage] += self.now() - began

        return wrapped

    def now(self) -> float:
        """The time, once the device has done what it was asked."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def bench(recipe: Recipe, *, steps: int, warmup: int, report: Reporter) -> dict[str, Any]:
    """Train for `warmup + steps` steps without writing anything: images/s, shares of time, peak memory in MiB."""
    session = Session.open(recipe, report, trackers=False)
    pretraining, device = session.model(), session.accelerator.device
    loop, watch = session.loop(pretraining), Stopwatch(device)
    batches = on_device(session.loader(pretraining).batches(0, warmup + steps), device)
    attach(watch, loop)
    train(loop, batches, warmup, watch)
    watch.seconds.clear()
    began = watch.now()
    train(loop, batches, steps, watch)
    total = watch.now() - began
    return {
        "recipe": recipe.name,
        "device": device_name(device),
        "images_per_second": round(steps * session.context.batch_size / total, 1),
        "seconds_per_step": round(total / steps, 5),
        "shares": shares(watch.seconds, total),
        "peak_memory_mib": peak_memory(device),
        "batch_size": session.context.batch_size,
        "steps": steps,
    }


def attach(watch: Stopwatch, loop: Loop) -> None:
    """Put the stopwatch around the stages of a step."""
    loop.pretraining.make_views = watch.timed("augmentation", loop.pretraining.make_views)  # type: ignore[method-assign]
    loop.model.forward = watch.timed("forward", loop.model.forward)
    loop.accelerator.backward = watch.timed("backward", loop.accelerator.backward)
    loop.optimizer.step = watch.timed("optimizer", loop.optimizer.step)


def train(loop: Loop, batches: Iterator[Batch], steps: int, watch: Stopwatch) -> None:
    """Some steps, without metrics, sentinel or checkpoints."""
    waiting: Iterator[Batch] = iter(watch.timed("loader", lambda: next(batches)), None)
    for _ in range(steps):
        loop.train_step(waiting, loop.progress())
        loop.step += 1


def shares(seconds: dict[str, float], total: float) -> dict[str, float]:
    """Share of the time by stage; views are made inside the forward pass, and are taken out of it."""
    own = {**seconds, "forward": seconds["forward"] - seconds["augmentation"]}
    own["other"] = total - sum(own.get(stage, 0.0) for stage in STAGES[:-1])
    return {stage: round(max(own.get(stage, 0.0), 0.0) / total, 4) for stage in STAGES}


def peak_memory(device: torch.device) -> float:
    """Most memory in use at once: of the device on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


def device_name(device: torch.device) -> str:
    """A name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
