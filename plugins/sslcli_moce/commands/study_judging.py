"""Every model of `sslcli moce study` on every task: which test pictures kNN and a linear classifier get right.

A model is one RUN for all tasks, or, for MoCE, the task's own expert.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslcli.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from sslcli.data.judged import Judged

KNN, LINEAR = "knn", "linear"
PROTOCOLS = (KNN, LINEAR)


@dataclass(frozen=True)
class StudyTask:
    """A labelled data set, with a part to learn from and a part to be tested on."""

    name: str
    spec: str
    judged: "Judged"

    def document(self) -> dict[str, Any]:
        """The task as plain data."""
        judged = self.judged
        sizes = {"train": len(judged.train), "test": len(judged.test), "classes": len(judged.classes)}
        return {"name": self.name, "data": self.spec, "said": judged.said, **sizes}


def open_study_tasks(specs: Sequence[str], seed: int) -> list[StudyTask]:
    """The labelled pictures of each SPEC. Raises UserError."""
    from sslcli.data.judged import open_judged
    from sslcli_moce.commands.voting import name_of, unique

    names = unique(map(name_of, specs), ["mean"])
    return [StudyTask(name, spec, open_judged(spec, seed=seed)) for name, spec in zip(names, specs)]


@dataclass(frozen=True)
class Judge:
    """How models are judged, the same for all."""

    k: int
    seed: int
    note: Callable[[str], None]

    def score(self, run: str, task: StudyTask) -> dict[str, "Tensor"]:
        """Which test pictures of a task a RUN gets right, bool `[M]` by each protocol."""
        from sslcli.evaluation.linear import linear
        from sslcli.evaluation.trial import Trial
        from sslcli.evaluation.vote import knn_right

        train, test = Trial(run, note=self.note).labelled(task.judged)
        shown = (train.features, train.labels, test.features, test.labels)
        nearest = knn_right(*shown, k=min(self.k, len(train.labels)))
        return {KNN: nearest, LINEAR: linear(*shown, seed=self.seed).right}


Right = Mapping[str, Mapping[str, Sequence["Tensor"]]]  # by protocol, by model: bool [M] of every task


def judge_all(models: Mapping[str, Sequence[str]], tasks: Sequence[StudyTask], judge: Judge) -> Right:
    """Every model, a RUN for each of the tasks, on every task."""
    right: dict[str, dict[str, list[Tensor]]] = {protocol: {name: [] for name in models} for protocol in PROTOCOLS}
    for number, task in enumerate(tasks):
        for name, runs in models.items():
            began = time.monotonic()
            for protocol, truth in judge.score(runs[number], task).items():
                right[protocol][name].append(truth)
            judge.note(f"judged {name} on {task.name} in {time.monotonic() - began:.1f} s")
    refuse_unequal(right, tasks)
    return right


def refuse_unequal(right: Right, tasks: Sequence[StudyTask]) -> None:
    """Models are compared on the same pictures: a file that came or went meanwhile would mix them up."""
    for models in right.values():
        for number, task in enumerate(tasks):
            if len({len(truths[number]) for truths in models.values()}) > 1:
                raise RunError(f"the pictures of {task.name} changed while they were judged", "judge again")
