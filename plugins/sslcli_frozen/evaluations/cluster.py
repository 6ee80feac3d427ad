"""`sslcli eval cluster`: k-means on features, and how far its clusters are the classes.

NMI        mutual information of clusters and classes, by the mean of their entropies
ARI        pairs of pictures on which both agree, less what chance would give (Hubert and Arabie 1985)
accuracy   each cluster stands for one class at most, each class has one cluster at most, as many right as can be
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch.nn.functional import normalize

from sslcli.errors import UserError
from sslcli.evaluation.interval import LEVEL, within
from sslcli.evaluation.reports import Report
from sslcli.evaluation.trial import Trial, labels_of
from sslcli.evaluation.vote import check_finite
from sslcli_frozen.options import ClusterOptions

RESAMPLES = 200  # each of which measures a clustering anew

Numbers = NDArray[np.int64]


def accuracy(labels: Numbers, clusters: Numbers) -> float:
    """The share of pictures `[N]` whose cluster stands for their class, under the best assignment."""
    counts = contingency_matrix(labels, clusters)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


LEAST = {"nmi": 0.0, "ari": -0.5, "accuracy": 0.0}  # that a measure can be; 1 is the most
METRICS = {"nmi": normalized_mutual_info_score, "ari": adjusted_rand_score, "accuracy": accuracy}


def judge(options: ClusterOptions, trial: Trial) -> Report:
    """Each measure as its mean over the seeds, with an interval over seeds and pictures."""
    source = trial.judged.train if options.part == "train" else trial.judged.test
    (table,) = trial.tables((source,))
    check_finite(table.features, options.part)
    features = table.features - table.features.mean(dim=0) if trial.subject.centred else table.features
    labels, k = labels_of(source, table).numpy(), options.k or len(trial.judged.classes)
    check_k(k, len(labels))
    seeds = range(options.seed, options.seed + options.seeds)
    points = (normalize(features, dim=1) if options.normalise else features).double().numpy()
    found = [
        KMeans(k, n_init=options.restarts, random_state=seed).fit_predict(points).astype(np.int64) for seed in seeds
    ]
    singles = [{"seed": seed, **measured(labels, clusters)} for seed, clusters in zip(seeds, found)]
    facts = {
        "clustered": f"{source.spec}: {len(labels)} pictures, by {'cosine' if options.normalise else 'distance'}",
        "seeds": f"{options.seeds}, each the tightest of {options.restarts} beginnings",
        "width": features.shape[1],
        "classes": len(trial.judged.classes),
    }
    return Report(
        "cluster",
        trial.run,
        trial.subject.said,
        trial.judged.said,
        [{"k": k, **summary(labels, found, options.seed)}],
        facts,
        shares=("accuracy",),
        details={"by_seed": singles},
    )


def check_k(k: int, pictures: int) -> None:
    """Refuse more clusters than pictures. Raises UserError."""
    if k > pictures:
        raise UserError(f"{k} clusters are more than the {pictures} pictures", f"give a k of at most {pictures}")


def measured(labels: Numbers, clusters: Numbers) -> dict[str, float]:
    """Every measure of one clustering `[N]`."""
    return {name: float(metric(labels, clusters)) for name, metric in METRICS.items()}


def summary(labels: Numbers, found: Sequence[Numbers], seed: int) -> Mapping[str, Any]:
    """The mean of each measure over the clusterings; its interval over which of them, and which pictures, are met.

    Pictures repeat in a resample, which looks like agreement: the interval is moved back by the mean of that, and ends
    where no measure can go further.
    """
    rng = np.random.default_rng(seed)
    whole = [measured(labels, clusters) for clusters in found]
    drawn = [resampled(labels, found, rng) for _ in range(RESAMPLES)]
    row: dict[str, Any] = {}
    for name in METRICS:
        values, value = np.array([one[name] for one in drawn]), float(np.mean([one[name] for one in whole]))
        ends = value + np.quantile(values - values.mean(), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        row |= {name: value, f"{name}_interval": [*within(float(ends[0]), float(ends[1]), LEAST[name], 1.0)]}
    return row


def resampled(labels: Numbers, found: Sequence[Numbers], rng: np.random.Generator) -> dict[str, float]:
    """Every measure of one of the clusterings on as many pictures, drawn with replacement."""
    clusters, members = found[int(rng.integers(len(found)))], rng.integers(len(labels), size=len(labels))
    return measured(labels[members], clusters[members])
