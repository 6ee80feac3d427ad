"""Health of a backbone without labels: ranks, evenness, how views agree, how clusters can be told apart."""

from sslcli.api import Evaluation, Offers, hookimpl
from sslcli_health.options import HealthOptions


@hookimpl
def sslcli_evaluations() -> Offers:
    """`health`."""
    yield Evaluation(
        "health",
        HealthOptions,
        "sslcli_health.evaluations.health:judge",
        summary="ranks, evenness and clusters of the features say how well they are; no labels are read",
        paper="arXiv:2210.02885",
    )
