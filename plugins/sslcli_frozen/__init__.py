"""Judgements of a backbone that is left as it is, by the vectors that it gives."""

from sslcli.api import Evaluation, Offers, hookimpl
from sslcli_frozen.options import ClusterOptions, KnnOptions, LinearOptions, RetrievalOptions


@hookimpl
def sslcli_evaluations() -> Offers:
    """`knn`, `linear`, `retrieval`, `cluster`."""
    yield Evaluation(
        "knn",
        KnnOptions,
        "sslcli_frozen.evaluations.knn:judge",
        summary="the k nearest training pictures of each test picture vote for its class",
        paper="arXiv:1805.01978",
    )
    yield Evaluation(
        "linear",
        LinearOptions,
        "sslcli_frozen.evaluations.linear:judge",
        summary="linear classifiers learn the classes from frozen features, and the best is tested",
        paper="arXiv:2304.07193",
    )
    yield Evaluation(
        "retrieval",
        RetrievalOptions,
        "sslcli_frozen.evaluations.retrieval:judge",
        summary="every test picture ranks the training pictures, those of its class first at best",
        paper="arXiv:2003.08505",
    )
    yield Evaluation(
        "cluster",
        ClusterOptions,
        "sslcli_frozen.evaluations.cluster:judge",
        summary="k-means clusters of the features are compared with the classes",
    )
