"""What a recipe can say of a residual network."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sslcli.api import BackboneOptions, Share


class ResnetOptions(BackboneOptions):
    """A timm model by name, or a depth (18 to 200) with a multiple of all widths."""

    model: str = ""  # resnet50 when neither model nor depth is given
    depth: Literal[18, 34, 50, 101, 152, 200] | None = None
    width_multiple: Annotated[int, Field(ge=1, le=8)] = 1  # 2 is ResNet-50 (2x): stem and stages twice as wide
    stem: Literal["imagenet", "small"] = "imagenet"  # small: 3x3 at stride 1 and no pooling, for pictures of 32 pixels
    padding: Literal["symmetric", "same"] = "symmetric"  # same: as TensorFlow pads, for weights that learned with it
    zero_init_last: bool = True  # last gamma of each residual branch starts at 0
    drop_path: Share = 0.0
    channels_last: bool = True  # memory format; the numbers are the same

    @model_validator(mode="after")
    def one_name(self) -> "ResnetOptions":
        """A model is named once."""
        if self.model and self.depth is not None:
            raise ValueError("give model or depth, not both")
        return self

    @property
    def architecture(self) -> str:
        """The timm name."""
        return self.model or f"resnet{self.depth or 50}"
