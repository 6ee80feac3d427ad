"""What a recipe may say about `mae`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import DecoderOptions, LossOptions, Reads


class MaskedAutoencoderOptions(DecoderOptions, LossOptions):
    """How much is hidden, what is rebuilt, and by how large a decoder."""

    mask_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75

    def reads(self) -> Reads:
        """The images alone: a masked encoding is a forward of its own."""
        return Reads(images=(self.views,))
