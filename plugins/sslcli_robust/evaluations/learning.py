"""Classes learnt once, from the features of clean pictures: by their neighbours, or by a linear classifier."""

from collections.abc import Callable

import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sslcli.evaluation.linear import CS, best_c, fitted
from sslcli.evaluation.trial import Labelled
from sslcli.evaluation.vote import check_finite, check_ks, predictions
from sslcli_robust.options import RobustOptions

Classify = Callable[[Tensor], Tensor]  # features [M, D] to classes [M]


def learnt(options: RobustOptions, train: Labelled, classes: int, device: torch.device) -> Classify:
    """What tells the classes of features apart. Raises UserError and RunError."""
    check_finite(train.features, "training")
    if options.method == "linear":
        return by_regression(train, options.seed)
    check_ks([options.k], len(train.labels))
    return by_vote(train, options, classes, device)


def by_vote(train: Labelled, options: RobustOptions, classes: int, device: torch.device) -> Classify:
    """The weighted vote of the k nearest training pictures."""

    def classify(features: Tensor) -> Tensor:
        ((_, ranked),) = predictions(
            train.features,
            train.labels,
            features,
            ks=[options.k],
            temperature=options.temperature,
            classes=classes,
            device=device,
        )
        return ranked[:, 0]

    return classify


def by_regression(train: Labelled, seed: int) -> Classify:
    """Logistic regression on features of mean 0 and spread 1, as strong as a part held out of training says."""
    scaler = StandardScaler().fit(train.features.double().numpy())
    scaled, labels = scaler.transform(train.features.double().numpy()), train.labels.numpy()
    model = fitted(scaled, labels, best_c(scaled, labels, CS, seed))

    def classify(features: Tensor) -> Tensor:
        return torch.from_numpy(model.predict(scaler.transform(features.double().numpy())))

    return classify
