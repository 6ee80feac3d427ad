"""What a recipe may say about `relic` and `relicv2`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sslcli.api import LossOptions, Reads, TaughtLossOptions

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]

Invariance = Literal["k1", "k2"]
StopGradient = Literal["entropy", "p", "none", "q"]


class RelicOptions(LossOptions):
    """Temperature, weight of the invariance, heads; student and teacher see the same large crops."""

    temperature: Positive = 0.3  # fixed, never learned
    alpha: NotNegative = 1.0  # weight of the invariance; that of the contrast is one
    stop_gradient: StopGradient = "none"  # which part of KL(p || q) takes no gradient
    hidden: Count = 4096
    output: Count = 256

    def reads(self) -> Reads:
        """The same crops by student and by teacher."""
        return Reads(student=(self.views,), teacher=(self.views,))


class Relicv2Options(TaughtLossOptions):
    """Temperature, weights, negatives, reading of the invariance, heads.

    Every crop of the student is compared with every one of the teacher, by default with that of its own number too.
    """

    temperature: Positive = 0.3  # fixed, never learned
    alpha: NotNegative = 0.3  # weight of the contrast
    beta: NotNegative = 3.0  # weight of the invariance
    negatives: Annotated[int, Field(ge=0)] | Literal["all"] = 10  # other images of the batch; 0 and "all": all of them
    invariance: Invariance = "k2"  # q: k2, the teacher's crop asks the student's; k1, the crops change places
    stop_gradient: StopGradient = "entropy"  # which part of KL(p || q) takes no gradient
    same_crop: bool = True  # crops of one number are compared too, through student and teacher
    hidden: Count = 4096
    output: Count = 256

    @model_validator(mode="after")
    def crops_can_change_places(self) -> Self:
        """K1 asks the student and the teacher of both crops of a pair."""
        if self.invariance == "k1" and self.taught != self.views:
            raise ValueError(
                'invariance = "k1" needs student and teacher to see the same large crops: no teacher_views'
            )
        return self
