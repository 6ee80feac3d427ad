"""A timm VisionTransformer behind the contract of a backbone: the same numbers, in two stages.

features(images) = encode(embed(images))
embed:   patches + their positions                          [B, N, D]
encode:  keep some -> join CLS and registers -> blocks -> last norm
encode_together: the same for crops of several sizes, packed into one forward
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone, Choose
from sslcli.nn.experts import Experts, recognised
from sslcli.nn.features import Features
from sslcli.nn.positions import resize_positions
from sslcli_vit import ABILITIES
from sslcli_vit.building import build_model, model_arguments, position_prefix
from sslcli_vit.choosing import choosing_block
from sslcli_vit.options import VitOptions
from sslcli_vit.packing import Layout, pack, packable, packed_block


class Vit(Backbone):
    """Vision transformer (arXiv 2010.11929).

    `features(images).normed` is timm's `forward_features(images)`, bit by bit, and `pooled` its `forward`.
    Images may have any size that divides into patches: the table of positions is resized to them.
    """

    abilities = frozenset(ABILITIES)

    def __init__(self, options: VitOptions, context: Context) -> None:
        super().__init__()
        self.options = options
        self.arguments = model_arguments(options, context)
        self.model: Any = build_model(options, context)
        self.width = self.model.embed_dim
        self.depth = len(self.model.blocks)
        self.heads = getattr(getattr(self.model.blocks[0], "attn", None), "num_heads", 0)
        self.patch_size = self.model.patch_embed.feat_ratio()
        self.grid = tuple(self.model.patch_embed.grid_size)
        self.prefix_tokens = self.model.num_prefix_tokens

    def features(self, images: Tensor) -> Features:
        """Features of normalised images `[B, 3, H, W]`."""
        return self.encode(self.embed(images), columns=recognised(self, images))

    def embed(self, images: Tensor, *, mask: Tensor | None = None, mask_token: Tensor | None = None) -> Tensor:
        """Patch tokens with their positions, `[B, N, D]`, row by row, without prefix tokens.

        Where `mask [B, N]` is true, `mask_token [D]` stands in the place of the patch.
        """
        patches = self.model.patch_embed(images)  # [B, rows, columns, D]
        tokens: Tensor = patches.flatten(1, 2)
        if mask is not None and mask_token is not None:
            tokens = torch.where(mask[..., None], mask_token.to(tokens.dtype), tokens)
        if self.model.pos_embed is None:
            return tokens
        return tokens + self.positions((patches.shape[1], patches.shape[2]))

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Positions of patch tokens on a grid, `[1, rows * columns, D]`."""
        prefix = position_prefix(self.model)
        table = resize_positions(self.model.pos_embed, self.grid, grid, prefix=prefix, how=self.options.position_resize)
        return table[:, prefix:]

    def encode(
        self,
        tokens: Tensor,
        *,
        keep: Tensor | None = None,
        attend: Tensor | Choose | None = None,
        columns: Mapping[str, Tensor] | None = None,
    ) -> Features:
        """Features of patch tokens `[B, N, D]`, or of the kept ones alone, `keep [B, K]`, in the order of `keep`.

        `attend`, broadcast to `[B, heads, M, M]`, counts the M tokens that are encoded: prefix tokens, then patches. A
        function is asked for such a mask in every block.
        """
        if keep is not None:
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        sequence = self.enter(tokens)
        for number, block in enumerate(self.model.blocks):
            look = attend if attend is None or isinstance(attend, Tensor) else partial(attend, number)
            sequence = self.run(run_block, block, sequence, look, columns)
        return self.leave(sequence)

    def encode_together(
        self, sizes: Sequence[Tensor], *, columns: Sequence[Mapping[str, Tensor]] | None = None
    ) -> list[Features]:
        """Features of patch tokens of several lengths, `[B_i, N_i, D]`, in one forward where the blocks can be packed.

        They are those of `encode` one by one, up to rounding; where something is dropped, the draws are others.
        """
        if not self.packs:
            return super().encode_together(sizes, columns=columns)
        sequences = [self.enter(tokens) for tokens in sizes]
        flat, layout = pack(sequences), Layout.of(sequences)
        for block in self.model.blocks:
            flat = self.run(packed_block, block, flat, layout)
        return [self.leave(sequence) for sequence in layout.split(flat)]

    @property
    def packs(self) -> bool:
        """Whether `encode_together` is one forward: all blocks are plain ones, without experts."""
        return all(packable(block) for block in self.model.blocks)

    def enter(self, tokens: Tensor) -> Tensor:
        """What the first block is given: patch tokens `[B, N, D]` with CLS and registers before them."""
        sequence: Tensor = self.model.norm_pre(self.model.pos_drop(self.with_prefix(tokens)))
        return sequence

    def leave(self, sequence: Tensor) -> Features:
        """What the last block gave, with the last norm and pooled."""
        normed = self.model.norm(sequence)
        return Features(sequence, normed, self.prefix_tokens, self.model.pool(normed))

    def with_prefix(self, tokens: Tensor) -> Tensor:
        """CLS and registers, with their rows of the table where they have some, before the tokens."""
        parts = [part for part in (self.model.cls_token, self.model.reg_token) if part is not None]
        if not parts:
            return tokens
        prefix = torch.cat(parts, dim=1)
        rows = position_prefix(self.model)
        if self.model.pos_embed is not None and rows:
            prefix = prefix + self.model.pos_embed[:, :rows]
        return torch.cat([prefix.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def run(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """One block by `function`, recomputed in the backward pass where the recipe asks for it."""
        if self.options.checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(function, *arguments, use_reentrant=False)
            return recomputed
        return function(*arguments)

    def last_norm(self, tokens: Tensor) -> Tensor:
        """The last norm of the network."""
        normed: Tensor = self.model.norm(tokens)
        return normed

    def replace_mlp(self, block: int, make: Callable[[nn.Module], nn.Module]) -> None:
        """Put `make(mlp)` in the place of the MLP of a block."""
        place = self.model.blocks[block]
        if not isinstance(getattr(place, "mlp", None), nn.Module):
            raise UserError(
                f"block {block} of {self.options.model!r} is a {type(place).__name__}, which has no single MLP",
                "choose a model of ordinary blocks, such as vit_small_patch16_224",
            )
        place.mlp = make(place.mlp)

    @property
    def exported(self) -> nn.Module:
        """The plain timm model."""
        exported: nn.Module = self.model
        return exported

    def timm_config(self) -> dict[str, Any]:
        """Architecture and arguments of the same network in timm; nothing while its blocks hold experts."""
        if any(isinstance(module, Experts) for module in self.modules()):
            return {}
        architecture = timm.models.get_arch_name(self.options.model)
        return {"architecture": architecture, "model_args": self.arguments | {"global_pool": self.model.global_pool}}


def run_block(
    block: nn.Module,
    sequence: Tensor,
    attend: Tensor | Callable[[Tensor], Tensor] | None,
    columns: Mapping[str, Tensor] | None,
) -> Tensor:
    """A block's output; its experts, if it has some, are told the facts of the images (again when recomputed)."""
    mlp = getattr(block, "mlp", None)
    if isinstance(mlp, Experts):
        mlp.columns = columns
    if callable(attend):
        return choosing_block(block, sequence, attend)
    output: Tensor = block(sequence) if attend is None else block(sequence, attn_mask=attend)
    return output
