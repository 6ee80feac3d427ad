"""The training loop. One pass of `Loop.run`:

    for step in first .. last:
        rates of this step                                 lr, weight decay, momentum of the teacher
        [teacher <- student]                               teacher.update = "before_forward"
        for each micro-batch:
            loss = pretraining(batch, progress)            views, features, losses
            backward(loss / accumulation)
            pretraining.after_step()                       queues, centres
        drop frozen gradients, clip, optimizer step
        [teacher <- student]                               teacher.update = "after_step"
        metrics, sentinel, probe, checkpoint, signals

All chance of a step comes from (seed, step, process), so a resumed run goes on as if it had never stopped.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from sslcli.api import Context, Progress, value_at
from sslcli.data.batch import Batch
from sslcli.data.broken import BrokenCount, BrokenMaskCount
from sslcli.errors import UserError
from sslcli.nn import Backbone, update_all
from sslcli.recipe.tables import Recipe
from sslcli.training import moment
from sslcli.training import optimizer as rules
from sslcli.training.checkpoint import Checkpoints
from sslcli.training.metrics import Means, MetricsFile
from sslcli.training.pretraining import Pretraining, evaluating
from sslcli.training.processes import on_main
from sslcli.training.runs import METRICS
from sslcli.training.schedule import learning_rate
from sslcli.training.sentinel import Sentinel
from sslcli.training.signals import Stopped, StopRequest

Probe = Callable[[Backbone], Mapping[str, float]]


class Reporter(Protocol):
    """Who is told how the run goes."""

    def record(self, record: Mapping[str, Any], context: Context) -> None:
        """A line of metrics."""

    def note(self, text: str) -> None:
        """Something to read: a warning, a checkpoint, what was loaded."""


@dataclass
class Loop:
    """One process's share of a run, from the step it stands at to the last."""

    recipe: Recipe
    context: Context
    accelerator: Accelerator
    pretraining: Pretraining
    report: Reporter
    broken: BrokenCount
    broken_masks: BrokenMaskCount
    probe: Probe | None = None
    step: int = 0  # optimizer steps done
    reached: bool = False  # gradients were seen to reach every parameter

    def __post_init__(self) -> None:
        options = self.recipe.optimizer
        rules.freeze_for_ever(self.pretraining, options.freeze)
        groups = rules.parameter_groups(self.pretraining, self.pretraining.student, options)
        self.rate = learning_rate(options, self.context)
        optimizer = rules.make_optimizer(groups, options, self.rate.peak)
        self.thaw = rules.Thaw(self.pretraining, options.freeze)
        for pattern in rules.patterns_of_absent_losses(self.pretraining, options):
            self.report.note(f"nothing is called {pattern}: its loss is not trained here")
        self.model, self.optimizer = self.accelerator.prepare(self.pretraining, optimizer)
        self.sentinel = Sentinel(self.recipe.sentinel)
        self.means = Means()
        self.clock = time.perf_counter()
        self.clocked = self.step

    def settle(self, folder: Path) -> "Loop":
        """Take a run's folder for checkpoints and metrics; a loop that only measures does without."""
        self.folder = folder
        self.checkpoints = Checkpoints(folder, self.recipe.checkpoint.keep)
        self.metrics = MetricsFile(folder / METRICS)
        return self

    @property
    def plain_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer under Accelerate's."""
        optimizer: torch.optim.Optimizer = self.optimizer.optimizer
        return optimizer

    @property
    def judged(self) -> Backbone:
        """The backbone that is probed, watched and exported."""
        return self.pretraining.teacher if self.recipe.teacher.export else self.pretraining.student

    def progress(self) -> Progress:
        """Where the run stands."""
        return Progress(self.step, self.context.steps, self.context.steps_per_epoch)

    def run(self, batches: Iterator[Batch], stop: StopRequest) -> None:
        """Train to the end, or until a signal."""
        self.pretraining.train()
        self.clock, self.clocked = time.perf_counter(), self.step
        self.leave_if_asked(stop)
        while self.step < self.context.steps:
            progress = self.progress()
            self.train_step(batches, progress)
            self.step += 1
            self.watch(progress)
            self.leave_if_asked(stop)
        self.save()

    def train_step(self, batches: Iterator[Batch], progress: Progress) -> None:
        """One optimizer step."""
        self.fix_chance()
        rules.set_rates(self.plain_optimizer, self.recipe.optimizer, self.rate, progress)
        self.update_teacher("before_forward", progress)
        for micro in range(self.recipe.train.accumulation):
            self.micro_step(next(batches), progress, last=micro == self.recipe.train.accumulation - 1)
        if not self.reached:
            self.check_reach()
        self.thaw.drop_gradients(progress)
        self.move(progress)
        self.update_teacher("after_step", progress)

    def check_reach(self) -> None:
        """Once, after the first backward pass: every parameter that learns must have got a gradient.

        Data parallelism would stop at the second step, in words that help nobody.
        """
        self.reached = True
        complaint = rules.without_gradient(self.pretraining)
        if complaint and self.accelerator.num_processes > 1:
            raise UserError(f"{complaint}, which several processes cannot train", rules.FREEZE_HINT)
        if complaint:
            self.report.note(f"warning: {complaint}; they stay as they are")

    def fix_chance(self) -> None:
        """Dropout and the like depend on seed, step and process, not on what was drawn before."""
        rank = self.accelerator.process_index
        torch.manual_seed((self.context.seed * 1_000_003 + self.step) * 65_537 + rank)

    def micro_step(self, batch: Batch, progress: Progress, *, last: bool) -> None:
        """Forward and backward of one micro-batch; gradients are averaged over processes at the last one."""
        self.broken.add(batch.broken)
        self.broken_masks.add(batch.broken_masks)
        waiting = contextlib.nullcontext() if last else self.accelerator.no_sync(self.model)
        with waiting:
            loss: Tensor = self.model(batch, progress)
            self.accelerator.backward(loss / self.recipe.train.accumulation)
        self.pretraining.after_step()
        assert self.pretraining.step is not None
        self.means.add({"loss": loss, **self.pretraining.step.logs})

    def move(self, progress: Progress) -> None:
        """Clip where the recipe says so, and let the optimizer step; in fp16 a step that overflowed is passed over."""
        options, norms = self.recipe.optimizer, {}
        limit = value_at(options.clip, progress)
        if limit > 0:
            self.accelerator.unscale_gradients(self.optimizer)
            parameters = (p for group in self.plain_optimizer.param_groups for p in group["params"])
            norms["gradient_norm"] = rules.clip_gradients(parameters, limit, options.clip_mode)
        self.optimizer.step()
        if not self.accelerator.optimizer_step_was_skipped:
            self.means.add(norms)
        self.optimizer.zero_grad(set_to_none=True)

    def update_teacher(self, when: str, progress: Progress) -> None:
        """Move every teacher towards its student."""
        if self.recipe.teacher.update == when:
            update_all(self.pretraining, value_at(self.recipe.teacher.momentum, progress))

    def watch(self, progress: Progress) -> None:
        """After a step: metrics, sentinel, probe, checkpoint. `self.step` is already the next one."""
        numbers: dict[str, float] = {}
        if self.sentinel.due(progress.step):
            numbers |= self.look(progress)
        if self.step % self.recipe.train.log_every_steps == 0 or self.step == self.context.steps or numbers:
            self.log(progress, numbers)
        if self.probe_due():
            self.judge()
        if self.step % self.recipe.checkpoint.every_steps == 0 and self.step < self.context.steps:
            self.save()

    def look(self, progress: Progress) -> dict[str, float]:
        """Health of the features, and of the experts where there are some."""
        found, warning = self.sentinel.check_features(progress.step, self.pretraining.look(self.judged))
        numbers, warnings = self.sentinel.check_experts(progress.step, self.pretraining.take_shares())
        for text in (*filter(None, [warning]), *warnings):
            self.report.note(f"warning: {text}")
        return found.numbers() | numbers

    def log(self, progress: Progress, numbers: Mapping[str, float]) -> None:
        """One line of metrics; stops the run when the loss is no number."""
        seconds, steps = time.perf_counter() - self.clock, self.step - self.clocked
        parts = self.means.take()
        record = {
            **parts,
            **numbers,
            "lr": self.rate.at(progress.step),
            "weight_decay": value_at(self.recipe.optimizer.weight_decay, progress),
            "images_per_second": round(steps * self.context.batch_size / max(seconds, 1e-9), 1),
        }
        self.clock, self.clocked = time.perf_counter(), self.step
        self.tell(record)
        self.sentinel.check_loss(progress.step, parts, self.checkpoints.last_words())
        if self.sentinel.due(progress.step):
            self.check_limits(progress, parts)

    def check_limits(self, progress: Progress, parts: Mapping[str, float]) -> None:
        """What the losses say a healthy run keeps to."""
        assert self.pretraining.step is not None
        for warning in self.sentinel.check_limits(progress.step, parts, self.pretraining.step.limits):
            self.report.note(f"warning: {warning}")

    def tell(self, numbers: Mapping[str, Any]) -> None:
        """To the file, the trackers and the person, once for all processes."""
        record = {"step": self.step, "epoch": round(self.step / self.context.steps_per_epoch, 4), **numbers}
        if self.accelerator.is_main_process:
            self.metrics.write(record)
            self.report.record(record, self.context)
        if self.accelerator.trackers:
            self.accelerator.log(dict(numbers), step=self.step)

    def probe_due(self) -> bool:
        """At the end of every so many epochs, and of the run."""
        options = self.recipe.probe
        if options is None or self.probe is None:
            return False
        return self.step % (options.every_epochs * self.context.steps_per_epoch) == 0 or self.step == self.context.steps

    def judge(self) -> None:
        """Judge the backbone on labelled pictures, in evaluation mode, on the main process."""
        assert self.probe is not None
        with self.off_the_clock(), evaluating(self.judged) as backbone:
            scores = on_main(self.accelerator, partial(self.probe, backbone))
        self.tell(scores or {})

    @contextlib.contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Work that images per second should not count."""
        began = time.perf_counter()
        yield
        self.clock += time.perf_counter() - began

    def leave_if_asked(self, stop: StopRequest) -> None:
        """Save and leave when any process was asked to stop."""
        number = stop.agreed()
        if number:
            self.save()
            raise Stopped(number, str(self.folder), self.step)

    def save(self) -> None:
        """A checkpoint of this moment; a model that is no longer finite is not worth one."""
        self.sentinel.check_parameters(self.step, self.pretraining, self.checkpoints.last_words())
        with self.off_the_clock():
            on_main(self.accelerator, lambda: self.checkpoints.save(self.step, moment.saved(self)))
