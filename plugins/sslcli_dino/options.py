"""What a recipe may say about `dino` and `ibot`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sslcli.api import LossOptions, PositiveValue, PrototypeOptions, Reads, Share, TaughtLossOptions

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]


class DinoOptions(TaughtLossOptions, PrototypeOptions):
    """What `dino` has besides: which crops are compared."""


class IbotOptions(LossOptions, PrototypeOptions):
    """What `ibot` has besides: small crops, the temperature for patches, and which patches are hidden.

    Student and teacher see the same large crops: a hidden patch is compared with itself.
    """

    prototypes: Count = 8192
    local_views: str = ""  # a second view group of the student, of smaller crops; none when empty
    shared_head: bool = True  # one set of prototypes for CLS and patches; otherwise one for each, behind one projector
    patch_temperature: PositiveValue = 0.04  # of the teacher, for patches
    cls_weight: Annotated[float, Field(ge=0.0)] = 1.0
    patch_weight: Annotated[float, Field(ge=0.0)] = 1.0
    mask_probability: Share = 0.5  # that a crop has hidden patches
    mask_ratio: Share = 0.3  # share of its patches that are hidden then
    mask_spread: Share = 0.2  # the ratio is drawn from mask_ratio - mask_spread to mask_ratio + mask_spread
    mask_aspect: Annotated[float, Field(gt=0.0, le=1.0)] = 0.3  # blocks are this to 1 / this times as high as wide

    @model_validator(mode="after")
    def ratios_are_shares(self) -> Self:
        """A ratio below nothing or above everything cannot be drawn."""
        if self.mask_spread > min(self.mask_ratio, 1.0 - self.mask_ratio):
            raise ValueError("mask_ratio -+ mask_spread must stay between 0 and 1")
        return self

    def reads(self) -> Reads:
        """Large crops by the teacher, small ones by the student; the student's large ones are masked by the loss."""
        local = (self.local_views,) if self.local_views else ()
        return Reads(student=local, teacher=(self.views,), images=(self.views,))
