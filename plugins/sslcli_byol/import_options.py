"""What `sslcli import byol` can be told."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import Options


class ByolImportOptions(Options):
    """Which of the two networks to take, and how long they were trained."""

    network: Literal["online", "target"] = "online"  # the online network is what was published
    epochs: Annotated[int, Field(ge=1)] | None = None  # by the steps of the file at a batch of 4096 when left out
