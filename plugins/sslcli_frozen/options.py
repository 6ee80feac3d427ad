"""What one may say about the evaluations of a frozen backbone."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from sslcli.api import EvaluationOptions


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an array without a value."""
    if not values:
        raise ValueError("must have at least one value")
    return values


Count = Annotated[int, Field(ge=1)]
Ks = Annotated[tuple[Count, ...], Field(strict=False)]
SomeKs = Annotated[tuple[Count, ...], Field(strict=False), AfterValidator(not_empty)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Rates = Annotated[tuple[Positive, ...], Field(strict=False), AfterValidator(not_empty)]
Decays = Annotated[tuple[NotNegative, ...], Field(strict=False), AfterValidator(not_empty)]
Optimizers = Annotated[tuple[Literal["sgd", "lars"], ...], Field(strict=False), AfterValidator(not_empty)]
Poolings = Annotated[tuple[Literal["cls", "mean", "both"], ...], Field(strict=False), AfterValidator(not_empty)]

RATES = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class KnnOptions(EvaluationOptions):
    """Of each picture that is tested, the k nearest training pictures vote for their classes. No training is done.

    sslcli eval knn runs/quickstart --baselines
    sslcli eval knn runs/mine --data ./labelled --k 20 --json
    sslcli eval knn timm:vit_small_patch16_224.dino --train parquet:train.parquet --test parquet:test.parquet
    sslcli eval knn random:quickstart --data demo
    """

    k: Ks = ()  # neighbours; 10,20,100 when left out, as far as the pictures go
    temperature: Positive = 0.07  # a neighbour's vote weighs exp(cosine / temperature)


class LinearOptions(EvaluationOptions):
    """Linear classifiers learn the classes from features of the frozen backbone, and the best one is tested.

    Many heads learn side by side: every rate on every choice of blocks and tokens. The one that is right most often on
    a tenth of each class, held out of training, learns again from all training pictures. The test pictures choose
    nothing.

    sslcli eval linear runs/quickstart --baselines
    sslcli eval linear runs/mine --data ./labelled --layers 1 --pooling cls --lrs 0.01,0.1
    sslcli eval linear runs/mine --method logistic
    sslcli eval linear runs/mine --protocol mae --no-augment --epochs 30
    """

    method: Literal["sgd", "logistic"] = "sgd"  # heads that learn in steps; or logistic regression, for small sets
    protocol: Literal["", "mugs", "patchmix", "mae", "relicv2"] = ""  # a method's own; what else you say goes first
    layers: SomeKs = (1, 4)  # how many of the last blocks a head reads, each number tried; of ViTs
    pooling: Poolings = ("cls", "mean", "both")  # tokens read: CLS, mean of the patches, CLS and the last block's mean
    lrs: Rates = RATES  # learning rates tried, for 256 pictures; they grow with the batch
    weight_decays: Decays = (0.0,)  # penalties tried
    optimizers: Optimizers = ("sgd",)  # tried
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9  # of either optimizer
    nesterov: bool = False  # look ahead along the momentum, with SGD
    epochs: Count = 100  # over the training pictures
    batch_size: Count = 256  # pictures a step, as far as there are so many
    warmup_epochs: NotNegative = 0.0  # the rate rises from 0, then falls along half a cosine
    final_lr: NotNegative = 0.0  # the rate at the end, whatever the batch
    moves: Literal["step", "epoch"] = "step"  # when the rate moves
    start: Literal["normal", "torch"] = "normal"  # weights at first: N(0, 0.01) with biases 0, or as PyTorch's Linear
    batch_norm: bool = False  # before the heads, without scale and shift
    augment: bool = False  # crops and flips, drawn anew each epoch: the backbone runs in every one
    fit: Literal["retry", "clip"] = "retry"  # a crop that does not fit is drawn again, or cut to fit


class RetrievalOptions(EvaluationOptions):
    """Every test picture ranks the training pictures by cosine: those of its class should come first.

    sslcli eval retrieval runs/quickstart --baselines
    sslcli eval retrieval runs/mine --data ./labelled --among test --recalls 1,10
    """

    among: Literal["train", "test"] = "train"  # the pictures that are ranked; of the test pictures, all others
    recalls: SomeKs = (1, 5, 10)  # recall@k: the share of pictures with one of their class among the first k


class ClusterOptions(EvaluationOptions):
    """Features are clustered by k-means, without labels; the clusters are then compared with the classes.

    sslcli eval cluster runs/quickstart --baselines
    sslcli eval cluster runs/mine --data ./labelled --part train --k 100
    """

    k: Annotated[int, Field(ge=0)] = 0  # clusters; as many as there are classes when 0
    part: Literal["train", "test"] = "test"  # the pictures that are clustered
    seeds: Count = 5  # times that everything is done, from other beginnings
    restarts: Count = 10  # beginnings of k-means each time, of which the tightest end is kept
    normalise: bool = True  # features to unit length, so that k-means goes by cosine
