"""The tables of a recipe that belong to the host: everything but what a plugin defines for itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from sslcli.api import Names, NotNegativeValue, Offer, Options, Pair, Share, Triple, Value

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0.0)]


class Data(Options):
    """What to train on, and what to do about pictures that cannot be read."""

    train: str
    split: str = "train"
    part: str = ""  # train on some of the pictures only: a JSON file of classes, rows or keys, or moce/imagenet-rest
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    prefetch: Count = 2  # batches that each worker prepares ahead
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    broken: Literal["skip", "stop"] = "skip"
    broken_limit: Share = 0.01
    max_megapixels: Positive = 178.0
    masks: str = ""  # which pixels are a picture's object, for augmentations that ask: a folder of PNGs, or demo
    cache: bool = True  # keep decoded pictures in memory when the whole set fits in `cache_megabytes`
    cache_megabytes: Annotated[int, Field(ge=0)] = 512


class Probe(Options):
    """Judge the backbone on labelled data while it trains, by kNN."""

    data: str = ""
    train: str = ""
    test: str = ""
    every_epochs: Count = 10
    k: Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = (20,)
    temperature: Positive = 0.07


class Evaluation(Options):
    """How a picture is shown to the trained backbone: resized to size / crop_share, then cut from the middle."""

    crop_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.875
    pool: Literal["auto", "cls", "mean"] = "auto"


class Teacher(Options):
    """The exponential moving average of the student, when a loss reads it."""

    momentum: Value = 0.996
    update: Literal["after_step", "before_forward"] = "after_step"
    export: bool = False  # save and judge the teacher's backbone, not the student's


class Freeze(Options):
    """Parameters that do not learn: for the first epochs, or for ever when `epochs` is left out."""

    parameters: Names  # patterns such as "backbone.*.patch_embed.*"
    epochs: Annotated[float, Field(gt=0.0)] | None = None


class Optimizer(Options):
    """How the parameters move. The peak rate is `lr * batch_size / lr_batch`, or `lr` itself when `lr_batch` is 0."""

    name: Literal["adamw", "sgd", "lars"] = "adamw"
    lr: Positive
    lr_batch: Annotated[int, Field(ge=0)] = 256
    final_lr: Annotated[float, Field(ge=0.0)] = 0.0
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    warmup_reaches_peak: bool = False  # the last warm-up step is at the peak, and so is the next
    weight_decay: Value = 0.05
    decay: Literal["matrices", "all"] = "matrices"  # matrices: not biases and 1-D parameters
    betas: Pair = (0.9, 0.999)
    eps: Positive = 1e-8
    momentum: Share = 0.9  # of SGD and LARS
    nesterov: bool = False
    trust: Positive = 0.001  # of LARS
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    lr_factors: Mapping[str, Annotated[float, Field(ge=0.0)]] = {}  # pattern of parameter names -> factor
    clip: NotNegativeValue = 0.0  # 0: no clipping
    clip_mode: Literal["global", "per_tensor"] = "global"
    freeze: Annotated[tuple[Freeze, ...], Field(strict=False)] = ()


class Train(Options):
    """How long, how much at once, and in what precision."""

    epochs: Positive
    batch_size: Count  # of one optimizer step, all processes and accumulation together
    accumulation: Count = 1
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool = False
    total: Literal["sum", "mean"] = "sum"  # of the losses: sum of weight * loss, or that by the sum of the weights
    packing: Literal["auto", "on", "off"] = "auto"  # crops of several sizes in one forward; auto: on a GPU
    crops_together: bool = True  # false: each crop has a forward of its own, and batch norm its own statistics
    seed: int = 0
    init_losses: bool = False  # what losses hold (decoders, projectors) also begins as in `init`, which is then a run
    log_every_steps: Count = 10
    trackers: Names = ()


class Checkpoint(Options):
    """When to save, and how many to keep."""

    every_steps: Count = 500
    keep: Count = 3


class Sentinel(Options):
    """What counts as a collapse. Features are looked at every `every_steps` steps."""

    every_steps: Steps = 50  # 0: never
    patience: Count = 3  # looks in a row before the run is stopped
    min_effective_rank: Annotated[float, Field(ge=1.0)] = 1.5
    min_spread: Annotated[float, Field(ge=0.0)] = 0.003
    stop: bool = True


@dataclass(frozen=True)
class Choice:
    """A plugin that the recipe chose, with its checked options."""

    name: str
    offer: Offer
    options: Any
    path: str  # where the recipe names it, such as "loss.0"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe, resolved and checked: every default written out."""

    name: str
    init: str
    data: Data
    probe: Probe | None
    evaluation: Evaluation
    backbone: Choice
    views: Mapping[str, Choice]  # cut from the picture
    mixed: Mapping[str, Choice]  # made on the device from another group
    losses: tuple[Choice, ...]
    routing: Choice | None
    teacher: Teacher
    optimizer: Optimizer
    train: Train
    checkpoint: Checkpoint
    sentinel: Sentinel
    document: Mapping[str, Any]  # the same as plain TOML data: what is saved with a run, and can be run again

    def choices(self) -> list[Choice]:
        """Every plugin that the recipe chose, with its options."""
        routing = [self.routing] if self.routing is not None else []
        return [self.backbone, *self.views.values(), *self.mixed.values(), *self.losses, *routing]

    def offers(self) -> list[Offer]:
        """Every plugin that the recipe chose."""
        return [choice.offer for choice in self.choices()]
