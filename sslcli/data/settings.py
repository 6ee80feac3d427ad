"""Options that the augmentations of several plugins share, checked without torch.

An operation may be written as a table, `blur = {probability = 0.5, sigma = [0.1, 2.0]}`, or as its probability alone,
`blur = 0.5`. A probability is one number, or one for each crop of the group.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from sslcli.api import Options, Pair, Share, Triple, ViewOptions

INCREASING = (
    "auto_contrast",
    "equalise",
    "invert",
    "rotate",
    "posterise",
    "solarise",
    "solarise_add",
    "saturation",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
)  # the operations of `rand-m9-mstd0.5-inc1`: each does more as the magnitude grows

T = TypeVar("T")


def as_tuple(value: Any) -> Any:
    """One probability to the tuple of one; a list of them as it is."""
    if isinstance(value, list | tuple) and value:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (value,)
    raise ValueError("should be a probability, or a list of them, one for each crop")


def as_written(chances: tuple[float, ...]) -> float | list[float]:
    """The tuple of one to a plain number, as a person would write it."""
    return chances[0] if len(chances) == 1 else list(chances)


def ascending(pair: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range written the wrong way round, and one that starts at or below zero."""
    if not 0.0 < pair[0] <= pair[1]:
        raise ValueError(f"[{pair[0]}, {pair[1]}] is no range: write [smallest, largest], both above 0")
    return pair


def within_picture(pair: tuple[float, float]) -> tuple[float, float]:
    """Refuse an area larger than the picture."""
    if pair[1] > 1.0:
        raise ValueError(f"[{pair[0]}, {pair[1]}] reaches above 1: these are shares of the picture's area")
    return pair


Chances = Annotated[
    tuple[Share, ...],
    Field(strict=False),
    BeforeValidator(as_tuple, json_schema_input_type=Share | list[Share]),
    PlainSerializer(as_written, return_type=float | list[float]),
]
Range = Annotated[Pair, AfterValidator(ascending)]
Area = Annotated[Range, AfterValidator(within_picture)]
Strength = Annotated[float, Field(ge=0.0)]


def chance_of(chances: tuple[float, ...], crop: int) -> float:
    """The probability that holds for one crop of a group."""
    return chances[crop] if len(chances) > 1 else chances[0]


class Operation(Options):
    """What every operation has: its probability, which may stand for the whole table."""

    probability: Chances

    @model_validator(mode="before")
    @classmethod
    def as_table(cls, value: Any) -> Any:
        """A plain probability, or a list of them, to the table of an operation."""
        plain = isinstance(value, int | float | list | tuple) and not isinstance(value, bool)
        return {"probability": value} if plain else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Let editors accept the plain probability too."""
        number = {"type": "number", "minimum": 0.0, "maximum": 1.0}
        return {"anyOf": [handler(core), number, {"type": "array", "items": number, "minItems": 1}]}


class Jitter(Operation):
    """Colour jitter: brightness, contrast and saturation by up to ±strength, hue by up to ±a share of the circle.

    `fast` is one affine map of colours. `torchvision` and `deepmind` do one operation after another, each clamped: the
    first as torchvision, the second as the code that DeepMind released for BYOL and RELICv2, which adds to the
    brightness instead of scaling it, takes contrast from the mean of each channel, and scales the saturation of HSV.
    """

    probability: Chances = (0.8,)
    brightness: Strength = 0.4
    contrast: Strength = 0.4
    saturation: Strength = 0.4
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.1
    form: Literal["fast", "torchvision", "deepmind"] = "fast"


class Blur(Operation):
    """Gaussian blur, with a standard deviation in pixels that is drawn from `sigma`.

    `deepmind` cuts the kernel off a twentieth of the crop's side from its middle (23 pixels at 224) and pads with
    black, as the code of BYOL and RELICv2 does; `full` cuts off nothing that can be seen, and reflects at the edges.
    """

    probability: Chances = (0.5,)
    sigma: Range = (0.1, 2.0)
    form: Literal["full", "deepmind"] = "full"


class Solarise(Operation):
    """Values of at least `threshold` (of 255) are inverted."""

    probability: Chances = (0.2,)
    threshold: Annotated[float, Field(ge=0.0, le=255.0)] = 128.0


class Erase(Operation):
    """Random erasing (arXiv:1708.04896): a rectangle of the crop is filled.

    With `before_normalise` the fill is put into the picture in [0, 1] and normalised with it: noise is then seen by the
    network as (N(0, 1) - mean) / std. `mean` and `zeros` fill with the mean colour, and with zeros, of that place.
    """

    probability: Chances = (0.25,)
    area: Area = (0.02, 0.33)
    ratio: Range = (0.3, 3.3)
    fill: Literal["noise", "zeros", "mean"] = "noise"
    before_normalise: bool = False


class RandAugment(Operation):
    """RandAugment (arXiv:1909.13719) on the whole picture, before the crop; the defaults are `rand-m9-mstd0.5-inc1`."""

    probability: Chances = (1.0,)
    operations: Annotated[int, Field(ge=1)] = 2  # drawn for a picture
    apply: Share = 0.5  # chance that a drawn operation is applied
    magnitude: Annotated[float, Field(ge=0.0, le=10.0)] = 9.0
    spread: Annotated[float, Field(ge=0.0)] = 0.5  # standard deviation of the magnitude, which is kept in [0, 10]
    distinct: bool = True  # no operation twice
    fill: Triple = (124.0, 116.0, 104.0)  # colour of what comes in from outside
    interpolation: Literal["random", "bilinear", "bicubic"] = "random"
    names: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = INCREASING

    @field_validator("names")
    @classmethod
    def known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse an operation that does not exist."""
        for name in names:
            if name not in INCREASING:
                raise ValueError(f"no operation '{name}'; there are {', '.join(INCREASING)}")
        return names

    @field_validator("names")
    @classmethod
    def enough(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """Refuse to draw more distinct operations than are named."""
        wanted = info.data.get("operations", 1)
        if info.data.get("distinct") and wanted > len(set(names)):
            raise ValueError(f"{len(set(names))} operations named, but {wanted} distinct ones are drawn")
        return names


def one_for_each_crop(value: Any, info: ValidationInfo) -> Any:
    """Refuse a list of probabilities that is not as long as the group has crops.

    A table inside the group's table learns their number from the context: `model_validate(…, context={"crops": 2})`.
    """
    chances = getattr(value, "probability", value)
    crops = info.data.get("crops", (info.context or {}).get("crops"))
    if chances is not None and crops is not None and len(chances) not in (1, crops):
        raise ValueError(f"{len(chances)} probabilities for {crops} crops: give one, or one for each crop")
    return value


PerCrop = Annotated[T, AfterValidator(one_for_each_crop)]


class Cropping(ViewOptions):
    """How a crop is cut: an area and a shape are drawn, and the cut is resized to `size` by `size` pixels."""

    scale: Area = (0.08, 1.0)  # shares of the picture's area
    ratio: Range = (3 / 4, 4 / 3)  # width by height
    fit: Literal["retry", "clip"] = "retry"  # what does not fit is drawn again (torchvision), or cut to fit (BYOL)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    flip: PerCrop[Chances] = (0.5,)  # left to right


class Photometry(Options):
    """What is done to the colours of a crop, in this order; what is left out is not done.

    A group of views takes it together with `Cropping`: `class MyOptions(Photometry, Cropping)`, in this order, so that
    the number of crops is known when the probabilities are checked.
    """

    jitter: PerCrop[Jitter | None] = None
    grey: PerCrop[Chances] = (0.0,)
    blur: PerCrop[Blur | None] = None
    solarise: PerCrop[Solarise | None] = None
    erase: PerCrop[Erase | None] = None


class Treatment(Photometry):
    """What is done to a crop beside cutting it: RandAugment on the whole picture before, colours after."""

    rand_augment: PerCrop[RandAugment | None] = None
