"""What one may say about the figure of MoCE."""

from sslcli.api import FigureOptions


class RoutingMapOptions(FigureOptions):
    """Which experts each cluster of the training pictures is sent to, and how many pictures each expert gets.

    sslcli show routing runs/moce-tiny -o routing.png
    sslcli show routing runs/moce-tiny --clusters clusters -o routing.svg
    """

    clusters: str = ""  # where the run's clusters are now; as its recipe says when left out
