"""What a recipe may say about `simclr`."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import LossOptions

Count = Annotated[int, Field(ge=1)]


class SimpleContrastOptions(LossOptions):
    """Temperature and projector."""

    temperature: Annotated[float, Field(gt=0.0)] = 0.1
    projector_layers: Count = 2
    hidden: Count = 2048
    output: Count = 128
    last_norm: Literal["none", "batch", "plain"] = "none"  # after the last layer; plain: without scale and shift
