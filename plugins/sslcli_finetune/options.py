"""What one may say about training a network further."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sslcli.api import EvaluationOptions, Share
from sslcli.errors import UserError
from sslcli.words import flags

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
UpToOne = Annotated[float, Field(gt=0.0, le=1.0)]
Below1 = Annotated[float, Field(ge=0.0, lt=1.0)]
Positives = Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
NotNegatives = Annotated[tuple[NotNegative, ...], Field(strict=False, min_length=1)]
Shares = Annotated[tuple[UpToOne, ...], Field(strict=False, min_length=1)]
Vector = Literal["auto", "cls", "mean", "fresh"]
NAMED = {"protocol", "seed"}  # of the options of training: what is no number of a protocol


class TrainingOptions(EvaluationOptions):
    """How a network is trained. What is left out is as the protocol says."""

    epochs: Positives | None = None  # passes over the training pictures; several are tried on a part held out
    steps: Count | None = None  # of the optimizer, in place of epochs
    lr: Positives | None = None  # the peak rate; several are tried on a part held out
    lr_batch: Annotated[int, Field(ge=0)] | None = None  # rate times batch by this; 0: the rate as it stands
    final_lr: NotNegative | None = None  # what the rate falls to, along half a cosine
    warmup: NotNegative | None = None  # epochs of linear warm-up from 0, half of the training at most
    optimizer: Literal["adamw", "sgd"] | None = None  # sgd: with Nesterov momentum 0.9
    weight_decay: NotNegatives | None = None  # of matrices; several are tried on a part held out
    decay_by_lr: bool | None = None  # the weight decay is divided by the peak rate
    layer_decay: UpToOne | None = None  # factor on the rate from each layer to the one below
    drop_path: Below1 | None = None  # of the last block; rises linearly from 0 at the first
    batch_size: Count | None = None  # of one step; as many as there are where there are fewer
    accumulation: Count | None = None  # forwards of one step, each of a part of the batch
    mixup: NotNegative | None = None  # alpha of mixup; 0 for none
    cutmix: NotNegative | None = None  # alpha of CutMix; 0 for none; where both are on a coin chooses
    smoothing: Below1 | None = None  # of the labels
    rand_augment: Annotated[float, Field(ge=0.0, le=10.0)] | None = None  # magnitude; 0 for none
    erase: Share | None = None  # probability of random erasing
    least_area: UpToOne | None = None  # the smallest share of the picture's area that a crop has
    vector: Vector | None = None  # auto: by --pool; fresh: the mean of patch tokens under a new norm
    head_hidden: Annotated[int, Field(ge=0)] | None = None  # width of a layer with GELU before the classes; 0: none
    head_std: NotNegative | None = None  # deviation of the classifier's first weights; 0: it begins with zeros
    ema: Below1 | None = None  # momentum of the averaged weights that are judged; 0: the last ones
    best: bool | None = None  # hold out a fifth of each class, and judge the epoch that is best on it

    @classmethod
    def trial_values(cls, folder: Path, data: str) -> dict[str, Any]:
        """One step is enough to try it."""
        return {"steps": 1}

    def given(self) -> dict[str, Any]:
        """The numbers of training that were typed."""
        own = set(TrainingOptions.model_fields) - NAMED
        return {name: value for name in sorted(own) if (value := getattr(self, name)) is not None}

    def refuse_given(self, method: str) -> None:
        """Refuse numbers of training where `method` trains nothing of the network. Raises UserError."""
        names = [*self.given(), *sorted({"protocol"} & self.model_fields_set)]
        if names:
            raise UserError(f"{flags(names)}: nothing of the network is trained with --method {method}", "leave it out")


class FinetuneOptions(TrainingOptions):
    """The whole network is trained on labelled pictures, from the weights of the run, and tested on the others.

    A protocol sets every number of training; each flag replaces one. The protocol small suits sets of some thousand
    pictures; the others are those of the methods' papers, for ImageNet. The network of the last step is tested.

    sslcli eval finetune runs/mine --data ./labelled
    sslcli eval finetune runs/mine --epochs 10 --seed 1 --json
    sslcli eval finetune runs/mae-b --data hf:imagenet-1k --protocol mae --accumulation 8
    sslcli eval finetune runs/mine --data ./labelled --lr 3e-4,1e-3,3e-3 --keep ./classifier
    """

    protocol: Literal["small", "mae", "mugs", "patchmix", "relicv2"] = "small"  # where the numbers come from
    keep: str = ""  # a new folder for the trained network, which timm.create_model opens as it is


class SemiOptions(TrainingOptions):
    """Classes are learnt from a small share of the training pictures, the same number of each class.

    Several draws of the pictures give a mean, and an interval over draws. What is tested is always the whole test part.

    sslcli eval semi runs/mine --data ./labelled --share 0.01,0.1 --seeds 5
    sslcli eval semi runs/mine --method linear
    sslcli eval semi runs/mugs-s --data hf:imagenet-1k --protocol mugs --share 0.01 --batch-size 512
    """

    protocol: Literal["small", "mugs", "relicv2"] = "small"  # where the numbers of fine-tuning come from
    share: Shares = (0.01, 0.1)  # of the training pictures; one of each class at least
    seeds: Count = 3  # draws of the pictures, each with a training of its own
    method: Literal["finetune", "linear"] = "finetune"  # linear: logistic regression on frozen vectors

    @classmethod
    def trial_values(cls, folder: Path, data: str) -> dict[str, Any]:
        """One step of each of two draws."""
        return {"steps": 1, "seeds": 2, "share": [0.3]}


class TransferOptions(TrainingOptions):
    """A backbone on many sets, one row a set, and their mean.

    By default a linear classifier reads frozen vectors. Flags of training count with --method finetune only.

    sslcli eval transfer runs/mine --data ./flowers --data ./pets --data hf:cifar10
    sslcli eval transfer runs/mine --data ./flowers --data ./pets --method finetune --epochs 20
    sslcli eval transfer pixels --data ./flowers --data ./pets --method knn --json
    """

    protocol: Literal["small", "mae", "ssl_transfer", "relicv2"] = "small"  # where the numbers of fine-tuning come from
    method: Literal["linear", "knn", "finetune"] = "linear"  # knn: the vote of --k nearest neighbours
    metric: Literal["auto", "top1", "mean_per_class"] = "auto"  # auto: by the name of the set
    k: Count | None = None  # voting neighbours, of --method knn; 20 when left out, as far as the smallest set goes

    @classmethod
    def trial_values(cls, folder: Path, data: str) -> dict[str, Any]:
        """A linear classifier is quick as it is."""
        return {}
