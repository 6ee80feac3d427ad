"""The rows that linear heads learn from and are tested on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sslcli.evaluation.trial import Trial, labels_of
from sslcli.evaluation.vote import check_finite
from sslcli_frozen.evaluations.sight import Sight


@dataclass(frozen=True)
class Rows:
    """Rows `[N, F]`, labels `[N]` and positions `[N]` of both parts; `shift [F]` was subtracted from the rows."""

    train: tuple[Tensor, Tensor, Tensor]
    test: tuple[Tensor, Tensor, Tensor]
    shift: Tensor


def features_of(trial: Trial, sight: Sight) -> Rows:
    """Rows of both parts, from the cache or made now. Raises RunError where they are not finite."""
    sources = (trial.judged.train, trial.judged.test)
    if sight.blocks:
        tables = [trial.features(source, sight.encoder, sight.name) for source in sources]
    else:
        tables = trial.tables(sources)
    for table, part in zip(tables, ("training", "test")):
        check_finite(table.features, part)
    mean = tables[0].features.mean(dim=0)
    shift = mean if trial.subject.centred else torch.zeros_like(mean)
    train, test = (
        (table.features - shift, labels_of(source, table), table.positions) for source, table in zip(sources, tables)
    )
    return Rows(train, test, shift)
