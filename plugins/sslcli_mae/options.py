"""What a recipe may say about `mae`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import LossOptions, Reads

Count = Annotated[int, Field(ge=1)]


class MaskedAutoencoderOptions(LossOptions):
    """How much is hidden, what is rebuilt, and by how large a decoder."""

    mask_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
    norm_pixels: bool = True  # rebuild each patch less its mean, by its deviation
    decoder_width: Annotated[int, Field(ge=4, multiple_of=4)] = 512
    decoder_depth: Count = 8
    decoder_heads: Count = 16

    def reads(self) -> Reads:
        """The images alone: a masked encoding is a forward of its own."""
        return Reads(images=(self.views,))
