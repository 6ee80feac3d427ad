"""What a recipe may say about the augmentation `patchmix`."""

from typing import Annotated

from pydantic import Field

from sslcli.api import MixOptions, Share

Count = Annotated[int, Field(ge=1)]


class PatchMixOptions(MixOptions):
    """How many images share one picture, by patches of which size, and which images mix with each other."""

    images: Count = 2  # that share one picture, M
    patch_size: Count | None = None  # pixels a side of what is mixed; the backbone's patches when left out
    probability: Share = 1.0  # of mixing at all, one coin for all crops of a ring
    ring: Annotated[int, Field(ge=0)] = 0  # how many consecutive images mix with each other; 0: all of a process
