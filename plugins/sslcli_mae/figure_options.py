"""What one may say about the figure of `mae`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import FigureOptions


class RebuiltOptions(FigureOptions):
    """Pictures, what a masked autoencoder is shown of them, and what it makes of that.

    sslcli show reconstruction runs/mae-tiny -o reconstruction.png
    sslcli show reconstruction runs/mae-tiny --data ./photos --mask-ratio 0.5 -o reconstruction.png
    """

    pictures: Annotated[int, Field(ge=1)] = 6  # pictures that are shown
    mask_ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # share of the patches that are hidden; 0: as in training
