"""What a recipe may say about `token`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import RoutingOptions


class TokenRoutingOptions(RoutingOptions):
    """How many experts a token opens, and what keeps them in equal use."""

    top_k: Annotated[int, Field(ge=1)] = 1
    noise: Annotated[float, Field(ge=0.0)] | None = None  # deviation, on logits, in training; 1 / experts when left out
    gate_deviation: Annotated[float, Field(ge=0.0)] = 0.02  # of the gate's random start
    importance: Annotated[float, Field(ge=0.0)] = 0.005  # weight of the squared variation of the gates' sums
    load: Annotated[float, Field(ge=0.0)] = 0.005  # weight of the squared variation of the chances of being chosen
