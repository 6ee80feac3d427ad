"""What `sslcli import mugs` can be told that a released file does not say."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import Options

Count = Annotated[int, Field(ge=1)]


class MugsImportOptions(Options):
    """Which network of a full file to take; heads and epochs where they cannot be read off."""

    network: Literal["teacher", "student"] = "teacher"  # only full files hold both; the teacher is what is published
    heads: Count | None = None  # of attention; a 64th of the width when left out, as in all released sizes
    epochs: Count | None = None  # of the training behind the weights; a full file says it itself
