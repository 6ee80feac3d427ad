"""What a recipe can say of a vision transformer."""

from typing import Annotated, Literal

from pydantic import Field

from sslcli.api import BackboneOptions, Share

Count = Annotated[int, Field(ge=1)]


class VitOptions(BackboneOptions):
    """A timm model by name; what is given besides replaces that part of it."""

    model: str = "vit_small_patch16_224"
    width: Count | None = None  # channels of a token
    depth: Count | None = None  # blocks
    heads: Count | None = None
    mlp_ratio: Annotated[float, Field(gt=0.0)] | None = None
    patch_size: Count | None = None  # pixels a side
    image_size: Count | None = None  # pixels a side; the size of the largest view when left out
    drop_path: Share = 0.0  # of the last block; rises linearly from 0 at the first
    class_token: bool | None = None
    registers: Annotated[int, Field(ge=0)] | None = None
    positions: Literal["learned", "sincos", "sincos_transposed"] = "learned"
    position_resize: Literal["size", "dino"] = "size"  # for images of another size than image_size
    init: Literal["timm", "mae", "moco_v3", "dino"] = "timm"
    pool: Literal["auto", "cls", "mean"] = "auto"  # auto: CLS where there is one
    checkpointing: bool = False  # recompute each block in the backward pass: less memory, about a third more time
