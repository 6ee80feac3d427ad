"""What a recipe may say about the three losses of PatchMix."""

from abc import ABC, abstractmethod
from typing import Annotated

from pydantic import Field

from sslcli.api import LossOptions, Reads

Count = Annotated[int, Field(ge=1)]
Pairs = tuple[tuple[str, str], ...]  # (the student's view, the teacher's)


class SimilarityOptions(LossOptions, ABC):
    """Temperature, smoothing and heads, which losses of one `heads` share; the subclass says which views meet."""

    temperature: Annotated[float, Field(gt=0.0)] = 0.2
    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0  # share of each target that is spread over all keys
    symmetric: bool = False  # both crops ask each other, and the mean is taken; as published, one asks
    heads: str = "patchmix"  # losses that say the same share projector and predictor
    projector_layers: Count = 3
    predictor_layers: Count = 2
    hidden: Count = 4096
    output: Count = 256

    @abstractmethod
    def large_pairs(self) -> Pairs:
        """Which large crop asks for which: the mean over these pairs is the loss."""

    def small_pairs(self) -> Pairs:
        """Which small crops ask for which large one: the sum over these pairs is added."""
        return ()

    def mixed_groups(self) -> tuple[str, ...]:
        """The groups whose plan says what the images are made of; those of others are whole."""
        return ()

    def reads(self) -> Reads:
        """The views of all pairs."""
        queries, keys = zip(*self.large_pairs(), *self.small_pairs())
        return Reads(
            student=tuple(dict.fromkeys(queries)), teacher=tuple(dict.fromkeys(keys)), plans=self.mixed_groups()
        )

    def both_ways(self, *pair: tuple[str, int]) -> Pairs:
        """A pair of (group, crop), and with `symmetric` the other crop of each as well."""
        ways = (0, 1) if self.symmetric else (0,)
        (asking, query), (asked, key) = pair
        return tuple((f"{asking}:{abs(query - way)}", f"{asked}:{abs(key - way)}") for way in ways)


class SmallCropOptions(SimilarityOptions):
    """What the two losses against whole images have besides: small crops of the student."""

    local_views: str = ""  # a view group of smaller crops, which ask for both large crops; none when empty
    local_weight: Annotated[float, Field(ge=0.0)] = 1.0  # of their term beside that of the large crops

    def asked_by_small(self, group: str) -> Pairs:
        """Each small crop asks for both large ones of a group."""
        return tuple((self.local_views, f"{group}:{crop}") for crop in range(2)) if self.local_views else ()


class OriginToOriginOptions(SmallCropOptions):
    """Whole images: crop 0 of the student asks for crop 1 of the teacher."""

    smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1

    def large_pairs(self) -> Pairs:
        """Crop 0 for crop 1."""
        return self.both_ways((self.views, 0), (self.views, 1))

    def small_pairs(self) -> Pairs:
        """Small crops for the large ones that they are compared with."""
        return self.asked_by_small(self.views)


class MixToOriginOptions(SmallCropOptions):
    """A mixed image asks for those that it is made of."""

    views: str = "mixed"  # the mixed group
    original_views: str = "global"  # the group of whole images that it is mixed of

    def large_pairs(self) -> Pairs:
        """Mixed crop 1 for the whole crop 0."""
        return self.both_ways((self.views, 1), (self.original_views, 0))

    def small_pairs(self) -> Pairs:
        """Small mixed crops for the large whole ones."""
        return self.asked_by_small(self.original_views)

    def mixed_groups(self) -> tuple[str, ...]:
        """All that asks is mixed."""
        return tuple(filter(None, (self.views, self.local_views)))


class MixToMixOptions(SimilarityOptions):
    """A mixed image asks for mixed ones, by how much of them is the same."""

    views: str = "mixed"  # the mixed group

    def large_pairs(self) -> Pairs:
        """Mixed crop 1 for mixed crop 0."""
        return self.both_ways((self.views, 1), (self.views, 0))

    def mixed_groups(self) -> tuple[str, ...]:
        """All is mixed."""
        return (self.views,)
