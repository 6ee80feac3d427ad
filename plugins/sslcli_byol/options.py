"""What a recipe may say about `byol`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import TaughtLossOptions

Count = Annotated[int, Field(ge=1)]


class BootstrapOptions(TaughtLossOptions):
    """The widths of projector and predictor, and which crops are compared."""

    hidden: Count = 4096
    output: Count = 256
