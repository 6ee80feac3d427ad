"""The options of `multicrop` and `weak_strong`."""

from typing import Literal

from pydantic import ValidationInfo, field_validator

from sslcli.api import Share
from sslcli.data.settings import Cropping, Treatment


class MulticropOptions(Treatment, Cropping):
    """Crops of one picture; without more options, a resized crop that is flipped half of the time."""


class WeakStrongOptions(Cropping):
    """Crops of one picture that are cut alike, and treated in one of two ways by a coin."""

    strong_share: Share = 0.5  # probability of the strong pipeline; 0 never, 1 always
    coin: Literal["crop", "sample"] = "crop"  # a coin for each crop, or one for all crops of a picture
    column: str = ""  # true where a sample is weak, for losses to read; none when empty
    weak: Treatment = Treatment()  # jitter, grey, blur, solarise, erase, rand_augment
    strong: Treatment = Treatment()  # the same

    @field_validator("column")
    @classmethod
    def one_coin_a_sample(cls, column: str, info: ValidationInfo) -> str:
        """Refuse to say of a sample what only its crops have."""
        if column and info.data.get("coin") == "crop":
            raise ValueError('needs coin = "sample": with a coin for each crop, a sample is neither weak nor strong')
        return column

    @field_validator("weak", "strong")
    @classmethod
    def as_many_probabilities_as_crops(cls, treatment: Treatment, info: ValidationInfo) -> Treatment:
        """Hold lists of probabilities in a pipeline's table against the number of crops; mistakes keep their path."""
        return Treatment.model_validate(dict(treatment), context={"crops": info.data.get("crops")})
