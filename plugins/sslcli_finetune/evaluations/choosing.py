"""Which of several numbers of training is the best, told by a part held out of training; never by the test part.

several rates, decays, lengths    each learns four fifths of each class; the best on the fifth learns all again
best                              each epoch is judged on the fifth, and the best one is kept as it is
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sslcli.data.judged import stratified
from sslcli.data.source import Source
from sslcli.data.subset import Subset
from sslcli.errors import UserError
from sslcli_finetune.classifier import Classifier
from sslcli_finetune.evaluations.task import Task
from sslcli_finetune.evaluations.training import train
from sslcli_finetune.protocols import Settings


@dataclass(frozen=True)
class Learnt:
    """A trained network, and the numbers that it was trained by."""

    classifier: Classifier
    settings: Settings


def learn(task: Task, source: Source, settings: Settings, seed: int) -> Learnt:
    """The network after the training that `settings` ask for. Raises UserError, RunError."""
    candidates = list(settings.candidates())
    if len(candidates) == 1 and not settings.best:
        return Learnt(train(task, source, candidates[0], seed), candidates[0])
    rest, held = parted(source, seed)
    tried = [attempt(task, rest, held, candidate, seed) for candidate in candidates]
    place = max(range(len(tried)), key=lambda number: tried[number][0])
    for candidate, (share, _) in zip(candidates, tried):
        task.note(f"{share:.1%} of the part held out, by {differing(candidate, settings)}")
    if settings.best:
        return Learnt(tried[place][1], candidates[place])
    return Learnt(train(task, source, candidates[place], seed), candidates[place])


def differing(candidate: Settings, settings: Settings) -> str:
    """The numbers that were chosen from several."""
    names = [name for name in ("lr", "weight_decay", "epochs") if len(getattr(settings, name)) > 1]
    return ", ".join(f"{name} {getattr(candidate, name)[0]:g}" for name in names) or "the best epoch"


def attempt(task: Task, rest: Source, held: Source, settings: Settings, seed: int) -> tuple[float, Classifier]:
    """The share of the held part that is right after one training, or after its best epoch, and that network."""
    best = BestSoFar(lambda classifier: share_right(task, classifier, held))
    last = train(task, rest, settings, seed, best.look if settings.best else lambda classifier: None)
    if not settings.best:
        best.look(last)
    assert best.classifier is not None  # it has looked once at least
    return best.share, best.classifier


class BestSoFar:
    """The network that was right most often, of those that it was shown; of equal ones the first."""

    def __init__(self, judge: Callable[[Classifier], float]) -> None:
        self.judge = judge
        self.share = -1.0
        self.classifier: Classifier | None = None

    def look(self, classifier: Classifier) -> None:
        """Judge a network, and keep a copy of it where it is better than all before."""
        share = self.judge(classifier)
        if share > self.share:
            self.share, self.classifier = share, copy.deepcopy(classifier).cpu().eval()


def share_right(task: Task, classifier: Classifier, source: Source) -> float:
    """The share of pictures whose class is right."""
    labels = source.labels()
    assert labels is not None
    table = task.logits(classifier, source)
    return float(np.mean(table.features.argmax(dim=1).numpy() == labels[table.positions.numpy()]))


def parted(source: Source, seed: int) -> tuple[Subset, Subset]:
    """Four fifths of each class to learn, a fifth to choose by. Raises UserError where no class can spare a picture."""
    labels = source.labels()
    assert labels is not None
    held = stratified(labels, seed)
    if not held.any():
        raise UserError(
            f"too few pictures in {source.spec} to hold some out", "give one --lr, --weight-decay and --epochs"
        )
    return (
        Subset(source, np.flatnonzero(~held), "the rest"),
        Subset(source, np.flatnonzero(held), "a fifth held out"),
    )
