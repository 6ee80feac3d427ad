"""What a recipe may say about `moco_v3`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import LossOptions, Reads

Count = Annotated[int, Field(ge=1)]


class MomentumContrastOptions(LossOptions):
    """Temperature and heads; the defaults are those for a ViT.

    For a ResNet the released code has `projector_layers = 2`, `predictor_last_norm = false`, `temperature = 1.0`.
    """

    temperature: Annotated[float, Field(gt=0.0)] = 0.2
    projector_layers: Count = 3
    predictor_layers: Count = 2
    hidden: Count = 4096
    output: Count = 256
    predictor_last_norm: bool = True  # batch norm without scale and shift after the predictor's last layer
    queue: Annotated[int, Field(ge=0)] = 0  # keys of earlier steps that are negatives too; 0: none, as published

    def reads(self) -> Reads:
        """The same crops by student and by teacher."""
        return Reads(student=(self.views,), teacher=(self.views,))
