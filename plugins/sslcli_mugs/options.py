"""What a recipe may say about the three losses of Mugs."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sslcli.api import PrototypeOptions, Reads, TaughtLossOptions

Count = Annotated[int, Field(ge=1)]
Size = Literal["auto"] | Count
Temperature = Annotated[float, Field(gt=0.0)]


class MugsOptions(TaughtLossOptions):
    """What the three losses share: how pairs of crops are weighed, and whether the released code's defects are kept."""

    pairs: Literal["balanced", "flat"] = "balanced"  # balanced: large and small pairs weigh a half each
    legacy: bool = False  # as the released code has it: weights that only divide, a memory with holes


class ContrastOptions(MugsOptions):
    """A projector, a predictor and a queue of keys."""

    temperature: Temperature = 0.2
    queue: Size = "auto"  # keys; auto: 65,536, or the largest power of two within half of the data
    hidden: Count = 2048  # width of the projector's hidden layers
    output: Count = 256
    predictor_hidden: Count = 4096
    norm_before_predictor: bool = True  # the projection is brought to unit length before the predictor too
    head_norm: Literal["none", "batch"] = "none"  # after the projector's hidden layers


class InstanceOptions(ContrastOptions):
    """Instance discrimination (Mugs, arXiv:2203.14415); the defaults are those of the released recipes."""


class LocalGroupOptions(ContrastOptions):
    """Local-group discrimination (Mugs, arXiv:2203.14415); the defaults are those of the released recipes."""

    memory: Size = "auto"  # entries of each of the two memories; auto: as `queue`
    memory_column: str = ""  # a column that says whose student features are remembered; all when empty
    neighbours: Count = 8
    relation_heads: Annotated[int, Field(ge=0)] = 0  # of attention in the relation block; 0: as the backbone has

    def reads(self) -> Reads:
        """The crops, and the column that says whom to remember."""
        columns = (self.memory_column,) if self.memory_column else ()
        return replace(super().reads(), columns=columns)

    @field_validator("neighbours")
    @classmethod
    def within_memory(cls, neighbours: int, info: ValidationInfo) -> int:
        """Refuse more neighbours than there are entries."""
        memory = info.data.get("memory")
        if isinstance(memory, int) and neighbours > memory:
            raise ValueError(f"{neighbours} neighbours out of a memory of {memory}: make the memory larger")
        return neighbours


class GroupOptions(MugsOptions, PrototypeOptions):
    """Group discrimination (Mugs, arXiv:2203.14415), DINO's loss over Mugs' pairs."""

    norm_last_layer: bool = False  # prototypes are of unit length; otherwise their length is learned
