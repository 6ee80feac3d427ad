"""The module that a plugin imports: the hook marker, the records it offers, the options it reads, what it is told.

Nothing here imports torch, so a recipe can be checked, listed and completed without it.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import pluggy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

hookimpl = pluggy.HookimplMarker("sslcli")

T = TypeVar("T")


PLACE = "place"


class Options(BaseModel):
    """A table of a recipe: strict about types, frozen, and refusing keys that it does not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def places(cls) -> tuple[str, ...]:
        """The options that name a file or a folder."""
        return tuple(name for name, field in cls.model_fields.items() if PLACE in field.metadata)

    @classmethod
    def trial_values(cls, folder: Path, data: str) -> dict[str, Any]:
        """What to try a plugin with, other than its defaults: for `sslcli plugins check`, which is done in seconds.

        Files that options name are written below `folder`; `data` is the SPEC of some pictures, for what is theirs.
        """
        return {}


Place = Annotated[str, PLACE]  # a file or folder, named from where the command runs; a run keeps its absolute path
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]  # what numpy, torch and scikit-learn all take, with room to count on
Pair = Annotated[tuple[float, float], Field(strict=False)]
Triple = Annotated[tuple[float, float, float], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


@dataclass(frozen=True)
class Progress:
    """Where a run stands: `step` of `steps`, counted in optimizer updates from 0."""

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Whole epochs behind this step."""
        return self.step // self.steps_per_epoch


class Schedule(Options):
    """A number that moves from `start` to `end` while training: `{start = 0.996, end = 1.0, schedule = "cosine"}`.

    `epochs` is how long the move takes (the whole run when left out); after it the value stays at `end`.
    `per = "epoch"` moves once an epoch; `reaches_end` puts `end` on the last step (or epoch) of the move, as
    numpy.linspace does, instead of on the one after it. A `step` is `start` for that long, and `end` from then on.
    """

    start: float
    end: float
    schedule: Literal["cosine", "linear", "step"] = "cosine"
    epochs: Annotated[float, Field(gt=0)] | None = None
    per: Literal["step", "epoch"] = "step"
    reaches_end: bool = False

    def at(self, progress: Progress) -> float:
        """The value at this point of the run."""
        unit = 1 if self.per == "step" else progress.steps_per_epoch
        length = (progress.steps if self.epochs is None else self.epochs * progress.steps_per_epoch) / unit
        done = min(progress.step // unit / max(length - self.reaches_end, 1e-9), 1.0)
        if self.schedule == "step":
            return self.end if done >= 1.0 else self.start
        share = done if self.schedule == "linear" else (1.0 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * share


Value = float | Schedule


def lowest(value: Value) -> float:
    """The smallest that a value becomes."""
    return min(value.start, value.end) if isinstance(value, Schedule) else value


def not_negative(value: Value) -> Value:
    """Refuse a number, or a schedule that touches one, below zero."""
    if lowest(value) < 0:
        raise ValueError("must not be below 0")
    return value


def above_zero(value: Value) -> Value:
    """Refuse a number, or a schedule that touches one, at or below zero."""
    if lowest(value) <= 0:
        raise ValueError("must be above 0")
    return value


NotNegativeValue = Annotated[Value, AfterValidator(not_negative)]
PositiveValue = Annotated[Value, AfterValidator(above_zero)]


def value_at(value: Value, progress: Progress) -> float:
    """The value of an option that may be a plain number or a schedule."""
    return value.at(progress) if isinstance(value, Schedule) else value


@dataclass(frozen=True)
class Reads:
    """What a loss wants of a step: view groups that the student or the teacher encodes, images, facts of the samples.

    `"global"` is the whole group, `"global:0"` its first crop alone.
    """

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()  # facts of the samples that some augmentation gives, by `column.NAME`
    plans: tuple[str, ...] = ()  # mixed groups whose plan it wants


class LossOptions(Options):
    """What every loss has: its weight in the total, and the view group it works on."""

    weight: Annotated[float, Field(ge=0.0)] = 1.0  # in the total; 0 leaves the loss out
    views: str = "global"  # the view group that it works on

    def reads(self) -> Reads:
        """What the loss wants encoded; the student's features of `views` unless the loss says otherwise."""
        return Reads(student=(self.views,))


class TaughtLossOptions(LossOptions):
    """What a loss has that compares the teacher's crops with the student's, large ones and small ones.

    With one group for both networks, crops of one number are the same picture: most losses leave such pairs out.
    """

    teacher_views: str = ""  # the view group that the teacher sees; the same as `views` when empty
    local_views: str = ""  # a second view group of the student, of smaller crops; none when empty

    @property
    def taught(self) -> str:
        """The view group that the teacher sees."""
        return self.teacher_views or self.views

    @property
    def studied(self) -> tuple[str, ...]:
        """The view groups that the student sees: the large crops, then the small ones where there are some."""
        return tuple(filter(None, (self.views, self.local_views)))

    def reads(self) -> Reads:
        """Large and small crops by the student, large ones by the teacher."""
        return Reads(student=self.studied, teacher=(self.taught,))


class PrototypeOptions(Options):
    """What a loss has that compares shares of prototypes: the head, and how sharp teacher and student are."""

    prototypes: Annotated[int, Field(ge=1)] = 65536
    hidden: Annotated[int, Field(ge=1)] = 2048  # width of the head between its layers
    bottleneck: Annotated[int, Field(ge=1)] = 256  # width of the vectors that the prototypes are compared with
    layers: Annotated[int, Field(ge=1)] = 3  # linear layers before the prototypes
    norm_last_layer: bool = True  # prototypes are of unit length; otherwise their length is learned
    teacher_temperature: PositiveValue = 0.04  # may be a schedule
    student_temperature: Annotated[float, Field(gt=0.0)] = 0.1
    centre_momentum: Share = 0.9


class DecoderOptions(Options):
    """What a loss has that rebuilds hidden patches: what is rebuilt, and by how large a decoder."""

    norm_pixels: bool = True  # rebuild each patch less its mean, by its deviation
    decoder_width: Annotated[int, Field(ge=4, multiple_of=4)] = 512
    decoder_depth: Annotated[int, Field(ge=1)] = 8
    decoder_heads: Annotated[int, Field(ge=1)] = 16


class ViewOptions(Options):
    """What every view group has that is cut from the picture: how many crops, and their size in pixels."""

    crops: Annotated[int, Field(ge=1)] = 1  # of each picture
    size: Annotated[int, Field(ge=1)]  # pixels a side

    def reads_masks(self) -> bool:
        """Whether the group looks at which pixels are a picture's object, so that `data.masks` must be named."""
        return False


class MixOptions(Options):
    """What every view group has that is mixed on the device from another group."""

    source: str  # the view group that is mixed

    def joined(self) -> int:
        """How many samples, one after the other in the batch, become one mixed image; 1 where each has its own."""
        return 1


class BackboneOptions(Options):
    """What every backbone has."""


class RoutingOptions(Options):
    """What every routing has: how many experts, which blocks they live in, and how they begin."""

    experts: Annotated[int, Field(ge=1)] = 8  # in each of the blocks
    blocks: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] = (-3, -1)  # negative ones count from the end
    perturbation: Annotated[float, Field(ge=0.0)] = 0.01  # experts begin as copies of one MLP: noise, in deviations


@dataclass(frozen=True)
class Offer:
    """One thing that a plugin brings; `code` is `"package.module:Attribute"`, imported when a recipe asks for it."""

    kind: ClassVar[str]
    base: ClassVar[type[Options]]

    name: str
    options: type[Options]
    code: str
    summary: str = field(default="", kw_only=True)
    paper: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Loss(Offer):
    """A term to minimise; `needs` names the abilities that it asks of the backbone."""

    kind = "loss"
    base = LossOptions
    needs: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Augmentation(Offer):
    """Image to views (`mixes=False`, in the loader), or a view group to a mixed one (`mixes=True`, on the device)."""

    kind = "augmentation"
    base = Options
    mixes: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Backbone(Offer):
    """Views to tokens and features.

    `abilities` are among `tokens`, `masking`, `attention_mask`, `attention_choice`, `experts`.
    """

    kind = "backbone"
    base = BackboneOptions
    abilities: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class Routing(Offer):
    """Which expert a token goes to, in a mixture-of-experts backbone."""

    kind = "routing"
    base = RoutingOptions


@dataclass(frozen=True)
class Importer(Offer):
    """Weights that other code released, to a run: `code(options, document) -> sslcli.nn.Imported`.

    `document` is the content of the file: tensors, numbers, words and their containers; nothing of it was executed.
    """

    kind = "importer"
    base = Options


class EvaluationOptions(Options):
    """What every evaluation has."""

    seed: Seed = 0  # of everything that is drawn: resamples, held-out parts, training

    @classmethod
    def trial_data(cls, folder: Path) -> str:
        """The SPEC of pictures to try an evaluation on that takes no ordinary ones, written below `folder`."""
        return ""


@dataclass(frozen=True)
class Evaluation(Offer):
    """A judgement of a trained backbone: `code(options, trial) -> sslcli.evaluation.reports.Report`.

    `needs` says what of RUN it reads: `vectors` that anything can give (the pixels too), `tokens` of patches, or the
    `network` itself, to train it further. `sets` says whether it takes one set of pictures or `many`.
    """

    kind = "evaluation"
    base = EvaluationOptions
    needs: Literal["vectors", "tokens", "network"] = field(default="vectors", kw_only=True)
    sets: Literal["one", "many"] = field(default="one", kw_only=True)


class FigureOptions(Options):
    """What every figure has."""

    seed: Seed = 0  # of everything that is drawn


@dataclass(frozen=True)
class Figure(Offer):
    """A picture of a trained backbone: `code(options, trial) -> sslcli.evaluation.drawings.Drawing`.

    `needs` says what of RUN it reads, as of an evaluation, or `notes`: what a run noted while it was trained, alone.
    `shows` names the losses and routings of a recipe that it is about; a report leaves it out for other runs. Without
    names it is about any backbone.
    """

    kind = "figure"
    base = FigureOptions
    needs: Literal["notes", "vectors", "tokens", "network"] = field(default="vectors", kw_only=True)
    shows: tuple[str, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class ViewShape:
    """How many crops a view group has, their size in pixels, and how many samples one of its images is mixed of."""

    crops: int
    size: int
    joined: int = 1


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a plugin's code is told of the run when it is built: `code(options, context)`.

    The backbone's own shape (`width` to `prefix_tokens`) is zero while the backbone itself is being built.
    """

    views: Mapping[str, ViewShape] = field(default_factory=dict)
    image_size: int = 224  # pixels, of the largest view
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    samples: int = 0  # pictures in the training set
    fingerprint: str = ""  # the identity of the training set; empty where nothing is trained
    batch_size: int = 1  # of one optimizer step, all processes and accumulation together
    world_size: int = 1
    steps: int = 1
    steps_per_epoch: int = 1
    seed: int = 0
    width: int = 0  # channels of a token
    depth: int = 0  # blocks
    heads: int = 0  # of attention in a block; 0 where there is none
    patch_size: int = 0  # pixels a side
    grid: tuple[int, int] = (0, 0)  # patches, rows by columns
    prefix_tokens: int = 0  # CLS and registers, before the patch tokens
    block: int | None = None  # that a routing is built for, from 0
    shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)  # by `once`, of one model

    def crops(self, view: str) -> int:
        """How many crops a view group has; none where `view` is empty."""
        return self.views[view].crops if view else 0

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made once a model: for losses of one plugin that share a head.

        A module that several losses hold learns from all of them, and is saved once.
        """
        if key not in self.shared:
            self.shared[key] = make()
        result: T = self.shared[key]
        return result


Offers = Iterable[Offer]
