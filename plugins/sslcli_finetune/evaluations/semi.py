"""`sslcli eval semi`: classes are learnt from few pictures, several times, and tested on the whole test part."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from sslcli.data.judged import Judged
from sslcli.errors import UserError
from sslcli.evaluation.interval import within
from sslcli.evaluation.linear import linear
from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.trial import Labelled, Trial, labels_of
from sslcli_finetune.evaluations.choosing import learn
from sslcli_finetune.evaluations.scores import in_top
from sslcli_finetune.evaluations.task import Task
from sslcli_finetune.options import SemiOptions
from sslcli_finetune.parts import balanced_part
from sslcli_finetune.protocols import settings_of


def judge(options: SemiOptions, trial: Trial) -> Report:
    """One row a share: the mean over draws of the share of test pictures that are right."""
    judged = trial.judged
    learner = Tuned(options, trial) if options.method == "finetune" else Linear(options, trial)
    results = []
    for share in options.share:
        draws = range(options.seed, options.seed + options.seeds)
        found = [learner.right(share, seed) for seed in draws]
        pictures = len(balanced_part(judged.train, share, options.seed))
        row = {"share": share, "pictures": pictures, "draws": len(draws), **over_draws(found, options.seed)}
        trial.note(f"share {share:g}, {pictures} pictures: {row['top1']:.1%}")
        results.append(row)
    facts = {
        "train": len(judged.train),
        "test": len(judged.test),
        "classes": len(judged.classes),
        "method": options.method,
        "interval": "over draws of the pictures" if options.seeds > 1 else "over test pictures",
        **learner.facts(),
    }
    shares = ("top1", "deviation", "top5")
    return Report("semi", trial.run, trial.subject.said, judged.said, results, facts, shares=shares)


def over_draws(found: Sequence[tuple[Tensor, Tensor]], seed: int) -> dict[str, Any]:
    """Mean and interval over draws, of whether each test picture is right, and is among the first five.

    Of one draw, the interval is over test pictures, as everywhere else.
    """
    top5 = float(np.mean([five.double().mean().item() for _, five in found])) if len(found[0][1]) else None
    rest = {} if top5 is None else {"top5": top5}
    if len(found) == 1:
        return {**share_of("top1", found[0][0], seed), **rest}
    shares = [right.double().mean().item() for right, _ in found]
    low, high = student_interval(shares)
    return {
        "top1": float(np.mean(shares)),
        "top1_interval": [low, high],
        "deviation": float(np.std(shares, ddof=1)),
        **rest,
    }


def student_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The interval of the mean of two numbers or more by Student's t; a point where they are equal."""
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread
    mean = float(np.mean(values))
    return within(mean - reach, mean + reach, 0.0, 1.0)


class Tuned:
    """The whole network learns."""

    def __init__(self, options: SemiOptions, trial: Trial) -> None:
        self.judged: Judged = trial.judged
        self.task = Task.of(trial)
        self.preset = options.protocol
        self.settings = settings_of(options, options.protocol, trial.backbone.width, "semi")

    def right(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Whether each test picture is right, and is among the first five, after one training."""
        learnt = learn(self.task, balanced_part(self.judged.train, share, seed), self.settings, seed)
        table = self.task.logits(learnt.classifier, self.judged.test)
        labels = labels_of(self.judged.test, table)
        return in_top(table.features, labels, top=1), in_top(table.features, labels)

    def facts(self) -> dict[str, Any]:
        """How it was trained."""
        return {"left_out": len(self.task.broken.paths), "preset": self.preset, "training": self.settings.said()}


class Linear:
    """A linear classifier learns frozen vectors."""

    def __init__(self, options: SemiOptions, trial: Trial) -> None:
        options.refuse_given(options.method)
        self.judged: Judged = trial.judged
        self.train, self.test = trial.labelled()

    def right(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Whether each test picture is right; the classifier does not say which classes come next."""
        part = chosen(self.train, balanced_part(self.judged.train, share, seed).indices)
        found = linear(part.features, part.labels, self.test.features, self.test.labels, seed=seed)
        return found.right, torch.empty(0)

    def facts(self) -> dict[str, Any]:
        """What there was to learn from."""
        return {"width": self.train.features.shape[1]}


def chosen(whole: Labelled, indices: Any) -> Labelled:
    """The rows of some pictures, those that could be read. Raises UserError where no two classes are left."""
    kept = torch.from_numpy(np.isin(whole.positions.numpy(), indices))
    labels = whole.labels[kept]
    if len(set(labels.tolist())) < 2:
        raise UserError("fewer than two classes are left of this share", "use a larger --share")
    return Labelled(whole.features[kept], labels, whole.positions[kept])
