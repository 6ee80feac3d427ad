"""What `sslcli import patchmix` can be told that a released file does not say."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import Options

Count = Annotated[int, Field(ge=1)]


class PatchMixImportOptions(Options):
    """Which network to take; heads, data and epochs, which no tensor tells."""

    network: Literal["teacher", "student"] = "teacher"  # momentum_encoder, as the authors judge it, or base_encoder
    heads: Count | None = None  # of attention; 3, 12 and 12 for ViT-T, ViT-S and ViT-B, which have no others
    data: Literal["cifar10", "cifar100"] = "cifar10"  # which recipe a network of 32-pixel images gets
    epochs: Annotated[float, Field(gt=0.0)] | None = None  # behind the weights; periodic files say it themselves
