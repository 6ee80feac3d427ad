"""Token routing of vision transformers (V-MoE): every token chooses its experts by what it is itself."""

from sslcli.api import Offers, Routing, hookimpl
from sslcli_vmoe.options import TokenRoutingOptions


@hookimpl
def sslcli_routings() -> Offers:
    """`token`."""
    yield Routing(
        "token",
        TokenRoutingOptions,
        "sslcli_vmoe.routing:TokenRouting",
        summary="every token to the experts that a learned gate picks for it",
        paper="arXiv:2106.05974",
    )
