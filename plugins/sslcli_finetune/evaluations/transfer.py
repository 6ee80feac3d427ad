"""`sslcli eval transfer`: one backbone, many sets, one table (arXiv:1805.08974 for the protocol of eleven sets)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli.evaluation.linear import linear
from sslcli.evaluation.reports import Report
from sslcli.evaluation.trial import Sets, Trial, labels_of
from sslcli.evaluation.vote import check_ks, knn_right
from sslcli.words import counted
from sslcli_finetune.evaluations.choosing import learn
from sslcli_finetune.evaluations.scores import by_class, entries, in_top, mean_of_means
from sslcli_finetune.evaluations.task import Task
from sslcli_finetune.options import TransferOptions
from sslcli_finetune.protocols import settings_of

PER_CLASS = ("aircraft", "caltech101", "caltech-101", "caltech_101", "flower", "pets")  # parts of names of sets
USUAL_K = 20
Judge = Callable[[TransferOptions, Trial], tuple[Tensor, Tensor]]


def judge(options: TransferOptions, trial: Trial) -> Report:
    """One row a set, and their mean."""
    refuse_ignored(options)
    trials = list(trial.each())
    sets = [one.judged for one in trials]  # all are opened before anything is computed
    if options.method == "knn":
        options = with_k(options, [len(judged.train) for judged in sets])
    results, groups = [], []
    for one, judged in zip(trials, sets):
        right, labels = METHODS[options.method](options, one)
        name = name_of(one)
        metric = metric_of(options.metric, name)
        groups.append(by_class(right, labels) if metric == "mean_per_class" else [right])
        row = {"data": name, "classes": len(judged.classes), "train": len(judged.train), "test": len(labels)}
        results.append(row | {"metric": metric, **entries("accuracy", mean_of_means(groups[-1:], options.seed))})
        trial.note(f"{name}: {results[-1]['accuracy']:.1%} ({metric})")
    if len(groups) > 1:
        results.append({"data": "mean", **entries("accuracy", mean_of_means(groups, options.seed))})
    said = f"{counted(len(sets), 'set')}: " + "; ".join(judged.said for judged in sets)
    facts = {"method": options.method, **how(options, trial)}
    return Report("transfer", trial.run, trial.subject.said, said, results, facts, shares=("accuracy",))


def refuse_ignored(options: TransferOptions) -> None:
    """Refuse what counts with another method only. Raises UserError."""
    if options.method != "finetune":
        options.refuse_given(options.method)
    if options.method != "knn" and options.k is not None:
        raise UserError(f"--k: no neighbours vote with --method {options.method}", "leave it out, or use --method knn")


def with_k(options: TransferOptions, pictures: Sequence[int]) -> TransferOptions:
    """The options with one k for all sets: what was typed, or else the usual one as far as the smallest set goes.

    `pictures` are those to learn from, of each set. Raises UserError where a k is larger.
    """
    k = options.k or min(USUAL_K, *pictures)
    check_ks([k], min(pictures))
    return options.model_copy(update={"k": k})


def how(options: TransferOptions, trial: Trial) -> Mapping[str, Any]:
    """What was done besides, by method."""
    if options.method == "knn":
        return {"k": options.k}
    if options.method == "finetune":
        settings = settings_of(options, options.protocol, trial.backbone.width, "transfer")
        return {"preset": options.protocol, "training": settings.said()}
    return {}


def name_of(trial: Trial) -> str:
    """The set of a trial, as it was typed."""
    sets = trial.sets[0] if trial.sets else Sets()
    return sets.data or sets.train


def metric_of(metric: str, name: str) -> str:
    """Top-1, or the mean over classes where the protocol of eleven sets has it, told by the name of the set."""
    if metric != "auto":
        return metric
    return "mean_per_class" if any(part in name.lower() for part in PER_CLASS) else "top1"


def by_linear(options: TransferOptions, trial: Trial) -> tuple[Tensor, Tensor]:
    """Whether each test picture is right by a linear classifier of frozen vectors, and the labels."""
    train, test = trial.labelled()
    return linear(train.features, train.labels, test.features, test.labels, seed=options.seed).right, test.labels


def by_neighbours(options: TransferOptions, trial: Trial) -> tuple[Tensor, Tensor]:
    """The same by the vote of neighbours."""
    train, test = trial.labelled()
    k = options.k
    assert k is not None  # with_k has chosen it
    return knn_right(train.features, train.labels, test.features, test.labels, k=k, device=trial.device), test.labels


def by_training(options: TransferOptions, trial: Trial) -> tuple[Tensor, Tensor]:
    """The same by the whole network, trained on the set."""
    task, judged = Task.of(trial), trial.judged
    settings = settings_of(options, options.protocol, trial.backbone.width, "transfer")
    learnt = learn(task, judged.train, settings, options.seed)
    table = task.logits(learnt.classifier, judged.test)
    labels = labels_of(judged.test, table)
    return in_top(table.features, labels, top=1), labels


METHODS: dict[str, Judge] = {"linear": by_linear, "knn": by_neighbours, "finetune": by_training}
