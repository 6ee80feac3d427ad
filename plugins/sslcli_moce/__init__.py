"""MoCE: experts that learn from clusters of similar pictures, and an ordinary backbone out of them for every task."""

from sslcli.api import Figure, Offers, Routing, hookimpl
from sslcli_moce.figure_options import RoutingMapOptions
from sslcli_moce.options import ClusterRoutingOptions, FixedRoutingOptions


@hookimpl
def sslcli_routings() -> Offers:
    """`moce.cluster`, `moce.fixed`."""
    yield Routing(
        "moce.cluster",
        ClusterRoutingOptions,
        "sslcli_moce.routing:ClusterRouting",
        summary="all tokens of an image to the expert that a learned gate picks for the image's cluster",
        paper="arXiv:2402.05382",
    )
    yield Routing(
        "moce.fixed",
        FixedRoutingOptions,
        "sslcli_moce.routing:FixedRouting",
        summary="a fixed path through the experts for every cluster, as sub-nets by data have it",
    )


@hookimpl
def sslcli_figures() -> Offers:
    """`routing`."""
    yield Figure(
        "routing",
        RoutingMapOptions,
        "sslcli_moce.figure:draw",
        summary="which experts each cluster of the training pictures is sent to",
        paper="arXiv:2402.05382",
        needs="network",
        shows=("moce.cluster", "moce.fixed"),
    )
