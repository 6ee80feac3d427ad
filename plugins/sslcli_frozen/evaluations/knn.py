"""`sslcli eval knn`: the weighted vote of nearest neighbours (arXiv:1805.01978, as arXiv:2104.14294 evaluates)."""

from collections.abc import Sequence

from torch import Tensor

from sslcli.evaluation.reports import Report, share_of
from sslcli.evaluation.trial import Trial
from sslcli.evaluation.vote import check_finite, check_ks, predictions
from sslcli_frozen.options import KnnOptions

USUAL_KS = (10, 20, 100)


def judge(options: KnnOptions, trial: Trial) -> Report:
    """Shares of test pictures whose class came first, and came among the first five, for every k."""
    judged = trial.judged
    if options.k:
        check_ks(options.k, len(judged.train))
    train, test = trial.labelled()
    for features, part in ((train.features, "training"), (test.features, "test")):
        check_finite(features, part)
    found = predictions(
        train.features,
        train.labels,
        test.features,
        ks=options.k or usual_ks(len(train.labels)),
        temperature=options.temperature,
        classes=len(judged.classes),
        device=trial.device,
    )
    results = [{"k": k, **accuracies(predicted, test.labels, options.seed)} for k, predicted in found]
    facts = {
        "train": len(train.labels),
        "test": len(test.labels),
        "width": train.features.shape[1],
        "classes": len(judged.classes),
        "temperature": options.temperature,
    }
    return Report("knn", trial.run, trial.subject.said, judged.said, results, facts, shares=("top1", "top5"))


def accuracies(predicted: Tensor, labels: Tensor, seed: int) -> dict[str, object]:
    """Of the first five classes of each picture `[M, 5]`."""
    right = predicted == labels[:, None]
    return {**share_of("top1", right[:, 0], seed), "top5": right.any(dim=1).double().mean().item()}


def usual_ks(samples: int) -> Sequence[int]:
    """The usual numbers of neighbours, as far as so many training pictures could be read."""
    return [k for k in USUAL_KS if k <= samples] or [samples]
