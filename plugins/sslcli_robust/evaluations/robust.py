"""`sslcli eval robust`: accuracy on corrupted pictures of what was learnt from clean ones (arXiv:1903.12261).

accuracy(c)    mean over severities of the share of test pictures that are told right under the corruption c
all            mean of accuracy(c) over the corruptions; its interval is over pictures, each with all its corruptions
drop           1 - accuracy / accuracy on the clean pictures
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sslcli.data.judged import Judged
from sslcli.evaluation.features import Table
from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.trial import Labelled, Trial, labels_of
from sslcli.evaluation.vote import check_finite
from sslcli_robust.corruptions import chosen
from sslcli_robust.evaluations.corrupted import Corrupted, whole
from sslcli_robust.evaluations.learning import Classify, learnt
from sslcli_robust.options import SEVERITIES, RobustOptions

Right = Mapping[tuple[str, int], Tensor]  # by corruption and severity: which pictures were told right, bool [M]


def judge(options: RobustOptions, trial: Trial) -> Report:
    """Accuracy on clean pictures, under all corruptions together, and under each."""
    names, severities = chosen(options.corruptions), sorted(set(options.severities or SEVERITIES))
    judged = trial.judged
    train, test = trial.tables((judged.train, judged.test))
    shift = train.features.mean(dim=0) if trial.subject.centred else torch.zeros(())
    learning = Labelled(train.features - shift, labels_of(judged.train, train), train.positions)
    classify = learnt(options, learning, len(judged.classes), trial.device)
    clean = told_right(classify, test, shift, judged)
    right = {
        (name, severity): told_right(classify, table, shift, judged)
        for name, severity, table in corrupted_tables(names, severities, options.seed, trial, judged)
    }
    facts = {
        "train": len(train.positions),
        "test": len(test.positions),
        "classes": len(judged.classes),
        "method": f"knn, k = {options.k}" if options.method == "knn" else options.method,
        "image_size": trial.card.image_size,
        "corruptions": len(names),
        "severities": severities,
    }
    columns = ("accuracy", *map(column_of, severities))
    results = rows(clean, right, names, severities, options.seed)
    return Report("robust", trial.run, trial.subject.said, judged.said, results, facts, shares=columns)


def corrupted_tables(names: Sequence[str], severities: Sequence[int], seed: int, trial: Trial, judged: Judged) -> Any:
    """Corruption, severity and features of the test pictures, one after the other."""
    card, silent = trial.card, replace(trial, note=lambda line: None)  # what is broken has been told already
    silent.__dict__["subject"] = trial.subject
    for number, name in enumerate(names, start=1):
        trial.note(f"corruption {number} of {len(names)}: {name}")
        for severity in severities:
            source = Corrupted(judged.test, card, name, severity, seed)
            yield name, severity, silent.features(source, trial.subject.encoder, "vectors", card=whole(card))


def told_right(classify: Classify, table: Table, shift: Tensor, judged: Judged) -> Tensor:
    """Which test pictures are told right, bool `[M]`. Raises RunError where features are not finite."""
    check_finite(table.features, "test")
    return classify(table.features - shift) == labels_of(judged.test, table)


def rows(
    clean: Tensor, right: Right, names: Sequence[str], severities: Sequence[int], seed: int
) -> list[dict[str, Any]]:
    """Clean pictures, all corruptions together, and each by itself."""
    groups = {"all": names, **{name: [name] for name in names}}
    base = clean.double().mean().item()
    found: list[dict[str, Any]] = [{"corruption": "none", **share_of("accuracy", clean, seed)}]
    for title, members in groups.items():
        told = {severity: torch.stack([right[name, severity] for name in members]).double() for severity in severities}
        by_picture = torch.cat(list(told.values())).mean(dim=0)  # [M]
        accuracy = share_of("accuracy", by_picture, seed)
        drop = 1 - accuracy["accuracy"] / base if base else None
        found.append(
            {"corruption": title, **accuracy, "drop": drop}
            | {column_of(severity): values.mean().item() for severity, values in told.items()}
        )
    return found


def column_of(severity: int) -> str:
    """What the accuracy at one severity is called."""
    return f"severity_{severity}"
