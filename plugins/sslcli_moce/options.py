"""What a recipe may say about routings by the cluster of an image."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sslcli.api import Place, RoutingOptions


class ClusterOptions(RoutingOptions):
    """What both have: the folder that `sslcli moce cluster` wrote."""

    clusters: Place = "clusters"

    @classmethod
    def trial_values(cls, folder: Path, data: str) -> dict[str, Any]:
        """Clusters of the given pictures."""
        from sslcli_moce.example import write_example

        return {"clusters": str(write_example(folder / "clusters", data))}


class ClusterRoutingOptions(ClusterOptions):
    """How the gate sees an image's cluster, how many experts it opens, and what keeps it balanced and certain."""

    top_k: Annotated[int, Field(ge=1)] = 1
    gate_scale: Literal["prob", "straight_through"] = "prob"  # an expert counts by its gate, or by 1
    temperature: Annotated[float, Field(gt=0.0)] = 1.0  # of the gate's softmax
    noise: Annotated[float, Field(ge=0.0)] | None = None  # deviation, on logits, in training; 1 / experts when left out
    centroids: Literal["frozen", "trained"] = "frozen"  # trained: the gate sees a copy that learns
    gate_deviation: Annotated[float, Field(ge=0.0)] = 0.02  # of the gate's random start
    imbalance: Annotated[float, Field(ge=0.0)] = 0.01  # weight of the squared variation of the experts' importance
    confidence: Annotated[float, Field(ge=0.0)] = 0.01  # weight of what keeps gates certain
    confidence_form: Literal["entropy", "top"] = "entropy"  # the gate's entropy, or 1 less its largest part
    regularised: Literal["batch", "data"] = "batch"  # over the images of the step, or over all clusters by their sizes
    unbiased: bool = False  # variance by E - 1, as in Shazeer's code, not by E


class FixedRoutingOptions(ClusterOptions):
    """Nothing to learn: a cluster's number, its digits to the base of the experts, is its path through the blocks."""
