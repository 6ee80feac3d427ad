"""The contract of a backbone: images to tokens, tokens to features."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.features import Features

Choose = Callable[[int, Tensor], Tensor]  # choose(block, logits [B, heads, M, M]) -> mask, without gradient


class Backbone(nn.Module, ABC):
    """A network from images to `Features`. The shapes below are fixed when it is built.

    A backbone with the ability `tokens` also works in two stages, `encode(embed(images))`; with `masking`, `encode`
    takes `keep` and `embed` takes `mask`; with `attention_mask`, `encode` takes a mask as `attend`, with
    `attention_choice` a function that makes one; with `experts`, `replace_mlp` puts experts into a block.
    """

    abilities: frozenset[str] = frozenset()
    width: int  # D, channels of a token
    depth: int  # blocks
    heads: int = 0  # of attention in a block
    patch_size: int  # pixels a side that one patch token stands for
    grid: tuple[int, int]  # patch tokens of an image of the native size, rows by columns
    prefix_tokens: int  # CLS and registers
    mixes_batch: bool = False  # has batch norm: images of one forward see each other

    @abstractmethod
    def features(self, images: Tensor) -> Features:
        """Features of normalised images `[B, 3, H, W]`, with leading axis `[B]`."""

    def embed(self, images: Tensor, *, mask: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
        """Patch tokens with their positions, `[B, N, D]`, without prefix tokens (ability `tokens`).

        Where `mask [B, N]` is true, `mask_token [D]` stands in the place of the patch; its position stays (ability
        `masking`).
        """
        raise TypeError(f"{type(self).__name__} has no ability 'tokens'")

    def encode(
        self,
        tokens: Tensor,
        *,
        keep: Tensor | None = None,
        attend: Tensor | Choose | None = None,
        columns: Mapping[str, Tensor] | None = None,
    ) -> Features:
        """Prefix tokens joined, blocks and last norm applied to `tokens [B, N, D]` (ability `tokens`).

        `keep [B, K]` are the patch tokens to encode, the others are left out (ability `masking`); `attend`, broadcast
        to `[B, heads, M, M]`, is true where a query may look at a key, for the M tokens that are encoded, prefix tokens
        first (ability `attention_mask`). It may be a function, `attend(block, logits) -> mask`, that each block asks
        with its number and its scaled logits in at least 32 bits, again where a block is recomputed; its mask leaves
        every query a key (ability `attention_choice`). `columns [B]` are facts of each image that a routing may want.
        """
        raise TypeError(f"{type(self).__name__} has no ability 'tokens'")

    def encode_together(
        self, sizes: Sequence[Tensor], *, columns: Sequence[Mapping[str, Tensor]] | None = None
    ) -> list[Features]:
        """Features of patch tokens of several lengths, `[B_i, N_i, D]`, as `encode` gives them one by one.

        A backbone that can pack them into one forward says so by `packs` (ability `tokens`).
        """
        told = columns or [{} for _ in sizes]
        return [self.encode(tokens, columns=facts) for tokens, facts in zip(sizes, told, strict=True)]

    @property
    def packs(self) -> bool:
        """Whether `encode_together` is one forward."""
        return False

    def last_norm(self, tokens: Tensor) -> Tensor:
        """The last norm, applied to tokens `[..., D]` that a loss made itself (ability `tokens`)."""
        raise UserError(
            f"the backbone {type(self).__name__} has no method last_norm, which a loss asks for",
            "give it one: the norm that makes features.normed of features.tokens",
        )

    def replace_mlp(self, block: int, make: Callable[[nn.Module], nn.Module]) -> None:
        """Put `make(mlp)` in the place of the MLP of a block (ability `experts`)."""
        raise TypeError(f"{type(self).__name__} has no ability 'experts'")

    @property
    def exported(self) -> nn.Module:
        """The module whose state dict is saved as `backbone.safetensors`: plain timm where there is one."""
        return self

    def timm_config(self) -> dict[str, Any]:
        """`architecture` and `model_args` for `timm.create_model`, or nothing where timm has no such network."""
        return {}
