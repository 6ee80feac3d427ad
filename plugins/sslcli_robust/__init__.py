"""How a backbone bears pictures that are noisy, blurred, snowed upon or badly stored."""

from sslcli.api import Evaluation, Offers, hookimpl
from sslcli_robust.options import RobustOptions


@hookimpl
def sslcli_evaluations() -> Offers:
    """`robust`."""
    yield Evaluation(
        "robust",
        RobustOptions,
        "sslcli_robust.evaluations.robust:judge",
        summary="classes learnt from clean pictures, told apart in corrupted ones",
        paper="arXiv:1903.12261",
    )
