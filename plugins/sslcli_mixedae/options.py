"""What a recipe may say about MixedAE: its mixing and its two losses."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import DecoderOptions, LossOptions, MixOptions, Reads


class ComposeOptions(MixOptions):
    """Of how many images a mixed one is made, in equal shares."""

    images: Annotated[int, Field(ge=2)] = 4

    def joined(self) -> int:
        """Each mixed image stands for so many samples."""
        return self.images


class MixedLossOptions(LossOptions):
    """What the losses have that work on a group mixed by `mixedae.mix`: how its images are encoded, once for all."""

    views: str = "mixed"  # the mixed view group
    attention: Literal["homologous", "plain"] = "homologous"  # each patch looks at its best keys only, or at all
    segments: bool = True  # a learned embedding tells which patches belong together

    def reads(self) -> Reads:
        """Mixed images and how they were mixed: their encoding is a forward of its own."""
        return Reads(images=(self.views,), plans=(self.views,))


class ReconstructionOptions(DecoderOptions, MixedLossOptions):
    """What is rebuilt of the sources of a mixed image, and by how large a decoder."""


class ContrastOptions(MixedLossOptions):
    """How sharp the contrast between patches is."""

    weight: Annotated[float, Field(ge=0.0)] = 0.1  # in the total
    temperature: Annotated[float, Field(gt=0.0)] = 0.25
