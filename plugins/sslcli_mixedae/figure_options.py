"""What one may say about the figure of MixedAE."""

from typing import Annotated

from pydantic import Field

from sslcli.api import FigureOptions


class MixedAttentionOptions(FigureOptions):
    """Where CLS and one patch look in whole pictures, and which keys that patch chooses in mixed ones.

    sslcli show mixed-attention runs/mixedae-tiny -o attention.png
    """

    pictures: Annotated[int, Field(ge=1)] = 4  # whole pictures, and as many mixed ones
    patch: Annotated[int, Field(ge=-1)] = -1  # that asks, counted row by row from 0; -1: the one in the middle
