"""A plugin in a file of its own, for tests of recipes: its code is never imported."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, model_validator

from sslcli import api
from sslcli.api import hookimpl


class ToyOptions(api.LossOptions):
    temperature: api.Value = 0.2
    ratio: api.Share = 0.75
    hard: bool = False

    @model_validator(mode="after")
    def hard_needs_ratio(self) -> "ToyOptions":
        if self.hard and self.ratio == 0:
            raise ValueError("needs a ratio above 0 when it is hard")
        return self


class PairOptions(api.LossOptions):
    crop: str = "global:1"

    def reads(self) -> api.Reads:
        return api.Reads(student=(self.views,), teacher=(self.crop,))


class BlockOptions(api.BackboneOptions):
    width: Annotated[int, Field(ge=1)] = 96
    patch_size: int = 8
    drop: api.Share | None = None


class MixOptions(api.MixOptions):
    side: int = 2


@hookimpl
def sslcli_losses() -> Iterable[api.Loss]:
    yield api.Loss("toy", ToyOptions, "fakes:Toy", summary="A toy.")
    yield api.Loss("toy.pair", PairOptions, "fakes:Pair")
    yield api.Loss("toy.masked", api.LossOptions, "fakes:Masked", needs=("masking",))


@hookimpl
def sslcli_backbones() -> Iterable[api.Backbone]:
    yield api.Backbone("small", BlockOptions, "fakes:Small", abilities=("tokens",))
    yield api.Backbone("able", api.BackboneOptions, "fakes:Able", abilities=("tokens", "masking", "experts"))


@hookimpl
def sslcli_augmentations() -> Iterable[api.Augmentation]:
    yield api.Augmentation("cut", api.ViewOptions, "fakes:Cut")
    yield api.Augmentation("blend", MixOptions, "fakes:Blend", mixes=True)


@hookimpl
def sslcli_routings() -> Iterable[api.Routing]:
    yield api.Routing("round", api.RoutingOptions, "fakes:Round")
