"""A network learns labelled pictures: one loop for every evaluation of this plugin.

for each step:
    rate, decay of each group                       sslcli.training: warm-up from 0, half a cosine
    crops -> images; images, labels -> mixed        timm.data.Mixup, smoothing with it
    loss = - sum of targets * log softmax           timm.loss.SoftTargetCrossEntropy
    step of AdamW or SGD, averaged weights
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from timm.data import Mixup
from timm.data.mixup import mixup_target
from timm.loss import SoftTargetCrossEntropy
from timm.utils import ModelEmaV3
from torch import Tensor

from sslcli.api import Context, Progress, ViewShape
from sslcli.data.batch import Batch
from sslcli.data.loader import Loader
from sslcli.data.sampler import BatchPlan
from sslcli.data.source import Source
from sslcli.errors import RunError, UserError
from sslcli.recipe.tables import Data, Optimizer
from sslcli.training.optimizer import make_optimizer, set_rates
from sslcli.training.schedule import LearningRate
from sslcli_finetune.classifier import Classifier
from sslcli_finetune.crops import TrainingCrop
from sslcli_finetune.evaluations.groups import rate_groups
from sslcli_finetune.evaluations.task import Task, fix_chance, own_chance
from sslcli_finetune.protocols import Settings

VIEW = "picture"
LOOK = 50  # steps between two looks at whether the loss is a number
SILENCE = 10.0  # seconds between two lines of talk
AfterEpoch = Callable[[Classifier], None]


@dataclass(frozen=True)
class Length:
    """How much is learnt at once, and for how long."""

    batch: int
    steps: int
    steps_per_epoch: int
    warmup: float  # steps


def length_of(settings: Settings, samples: int) -> Length:
    """Batch and steps for so many pictures; a batch is never larger than the set, and even where pictures are mixed.

    Raises UserError where the set cannot be divided so.
    """
    unit = settings.accumulation * (2 if settings.mixes else 1)
    batch = min(settings.batch_size, samples) // unit * unit
    if not batch:
        few = min(settings.batch_size, samples)
        raise UserError(
            f"{few} pictures at once cannot be divided into {unit}",
            "use a smaller --accumulation, a larger --batch-size, or no --mixup and --cutmix",
        )
    per_epoch = samples // batch
    steps = settings.steps or max(round(settings.epochs[0] * per_epoch), 1)
    return Length(batch, steps, per_epoch, min(settings.warmup * per_epoch, steps / 2))


def train(
    task: Task, source: Source, settings: Settings, seed: int, after_epoch: AfterEpoch = lambda classifier: None
) -> Classifier:
    """The network after it has learnt the pictures of a source, in evaluation mode, on the CPU.

    Of each number of which several may be given, the first is taken. `after_epoch` is shown the network that would be
    judged. Global generators are left as they were. Raises RunError when the loss is no number.
    """
    with own_chance(task.device):
        training = Training(task, source, settings, seed)
        return training.run(after_epoch)


class Training:
    """One training: the network, what moves it, and where it stands."""

    def __init__(self, task: Task, source: Source, settings: Settings, seed: int) -> None:
        labels = source.labels()
        assert labels is not None  # what is judged is labelled
        self.task, self.source, self.settings, self.seed = task, source, settings, seed
        self.length = length_of(settings, len(source))
        self.labels = torch.from_numpy(np.asarray(labels, dtype=np.int64))
        self.context = Context(image_size=task.card.image_size, mean=task.card.mean, std=task.card.std)
        self.view = TrainingCrop(settings, self.context)
        self.classifier = task.begin(settings, seed).to(task.device)
        self.averaged = ModelEmaV3(self.classifier, decay=settings.ema) if settings.ema else None
        self.rules = rules_of(settings, self.length.batch)
        self.rate = LearningRate(self.rules.lr, settings.final_lr, self.length.warmup, self.length.steps)
        groups = rate_groups(self.classifier, settings.layer_decay)
        self.optimizer = make_optimizer(groups, self.rules, self.rate.peak)
        self.mix = mixing_of(settings, task.classes)
        self.loss = SoftTargetCrossEntropy()
        self.losses: list[Tensor] = []
        self.began = self.spoken = 0.0

    @property
    def judged(self) -> Classifier:
        """The network that is judged: of the last weights, or of averaged ones."""
        if self.averaged is None:
            return self.classifier
        averaged: Classifier = self.averaged.module
        return averaged

    def run(self, after_epoch: AfterEpoch) -> Classifier:
        """All steps."""
        per_epoch, steps = self.length.steps_per_epoch, self.length.steps
        self.began = self.spoken = time.monotonic()
        with closing(self.batches()) as batches:  # type: ignore[type-var]
            for step in range(steps):
                self.step(batches, step)
                done = step + 1
                if done % LOOK == 0 or done == steps:
                    self.check(done)
                if done % per_epoch == 0 or done == steps:
                    after_epoch(self.judged)
                if done == steps or time.monotonic() - self.spoken > SILENCE:
                    self.tell(done)
        return self.judged.cpu().eval()

    def batches(self) -> Iterator[Batch]:
        """What each forward is given, in order."""
        plan = BatchPlan(len(self.source), self.length.batch, seed=self.seed, accumulation=self.settings.accumulation)
        shapes = {VIEW: ViewShape(1, self.task.card.image_size)}
        accelerated = self.task.device.type == "cuda"
        data = Data(train=self.source.spec)
        loader = Loader(self.source, {VIEW: self.view}, shapes, plan, seed=self.seed, data=data, pin=accelerated)
        return loader.batches(0, self.length.steps)

    def step(self, batches: Iterator[Batch], step: int) -> None:
        """One step of the optimizer."""
        fix_chance(self.seed, "step", step)
        set_rates(self.optimizer, self.rules, self.rate, Progress(step, self.length.steps, self.length.steps_per_epoch))
        self.classifier.train()
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(self.settings.accumulation):
            loss = self.loss_of(next(batches))
            (loss / self.settings.accumulation).backward()  # type: ignore[no-untyped-call]
            self.losses = [*self.losses[-LOOK:], loss.detach()]
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update(self.classifier)

    def loss_of(self, batch: Batch) -> Tensor:
        """The loss of one forward."""
        self.task.broken.add(batch.broken)
        labels = self.labels[batch.columns["index"]].to(self.task.device)  # a broken picture's place is another's
        batch = batch.to(self.task.device)
        drawn = {name: values[0] for name, values in batch.draws[VIEW].items()}
        images, targets = self.mix(self.view.finish(batch.crops[VIEW][0], drawn), labels)
        with torch.autocast(self.task.device.type, torch.bfloat16, enabled=self.task.device.type == "cuda"):
            logits = self.classifier(images)
        loss: Tensor = self.loss(logits.float(), targets)
        return loss

    def check(self, done: int) -> None:
        """Stop where the loss is no number."""
        if not torch.stack(self.losses).isfinite().all():
            raise RunError(f"the loss is no number after {done} steps", "use a smaller --lr, or a longer --warmup")

    def tell(self, done: int) -> None:
        """A line on how far it is."""
        self.spoken = time.monotonic()
        loss = torch.stack(self.losses).mean().item()
        speed = done * self.length.batch / max(self.spoken - self.began, 1e-9)
        epoch = f"epoch {done / self.length.steps_per_epoch:.3g}"
        self.task.note(f"{epoch}, step {done} of {self.length.steps}: loss {loss:.3f}, {speed:.0f} pictures a second")


def rules_of(settings: Settings, batch: int) -> Optimizer:
    """The optimizer's table, its rate for this batch."""
    lr, decay = settings.lr[0], settings.weight_decay[0]
    peak = lr * batch / settings.lr_batch if settings.lr_batch else lr
    return Optimizer.model_validate(
        {
            "name": settings.optimizer,
            "lr": peak,
            "lr_batch": 0,
            "nesterov": True,
            "weight_decay": decay / peak if settings.decay_by_lr else decay,
        }
    )


def mixing_of(settings: Settings, classes: int) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images `[B, 3, S, S]` and labels `[B]` to images, mixed or not, and shares of the classes `[B, classes]`."""
    if settings.mixes:
        mixup: Any = Mixup(
            settings.mixup, settings.cutmix, label_smoothing=settings.smoothing, num_classes=classes
        )  # one draw a batch, always; CutMix half of the time where both are on
        return mixup  # type: ignore[no-any-return]
    return lambda images, labels: (images, mixup_target(labels, classes, 1.0, settings.smoothing))
