"""What is learnt by which network, and where its chance comes from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from sslcli.data.broken import BrokenCount
from sslcli.data.draws import stream_generator
from sslcli.data.source import Source
from sslcli.errors import RunError
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import Table, extract
from sslcli.evaluation.trial import Trial
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pool
from sslcli_finetune.classifier import Classifier, make_classifier
from sslcli_finetune.protocols import Settings


@dataclass(frozen=True)
class Task:
    """What is learnt by which network; every training of an evaluation is one of `learn`."""

    backbone: Backbone  # stays as it is
    pool: Pool
    card: Card
    classes: int
    device: torch.device
    broken: BrokenCount
    note: Callable[[str], None] = lambda line: None

    @classmethod
    def of(cls, trial: Trial) -> "Task":
        """The network of a trial, and the classes of its pictures."""
        judged = trial.judged
        broken = trial.broken_count(len(judged.train) + len(judged.test))
        pool: Pool = getattr(trial.subject.encoder, "pool", "auto")
        return cls(trial.backbone, pool, trial.card, len(judged.classes), trial.device, broken, trial.note)

    def begin(self, settings: Settings, seed: int) -> Classifier:
        """The network before its training."""
        with own_chance(self.device):
            fix_chance(seed, "head")
            return make_classifier(self.backbone, self.pool, settings, self.classes)

    def logits(self, classifier: Classifier, source: Source) -> Table:
        """Answers `[M, classes]` to the pictures of a source that can be read, in 32 bits. Raises RunError."""
        table = extract(classifier, source, self.card, device=self.device)
        self.broken.add(table.broken)
        bad = int((~table.features.isfinite().all(dim=1)).sum())
        if bad:
            raise RunError(f"answers to {bad} of {len(table.features)} pictures are no numbers", "use a smaller --lr")
        return table


def fix_chance(seed: int, purpose: str, place: int = 0) -> None:
    """Drop path, mixing and first weights depend on seed and step, not on what was drawn before."""
    number = int(stream_generator(seed, f"finetune/{purpose}", place).integers(2**32))
    torch.manual_seed(number)
    np.random.seed(number)


@contextmanager
def own_chance(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, the global generators are afterwards as they were before."""
    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        np.random.set_state(state)
