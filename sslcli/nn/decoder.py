"""The decoder of a masked autoencoder (MAE, arXiv:2111.06377): seen tokens and mask tokens in, patches out."""

from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from sslcli.api import Context, DecoderOptions
from sslcli.errors import UserError
from sslcli.nn.patches import put_back
from sslcli.nn.positions import sincos_table


class MaskedDecoder(nn.Module):
    """Tokens `[B, prefix + K, width]` of the K seen patches to `[B, N, outputs]` for all N.

    A linear layer to `decoder_width`, one learned mask token for every hidden patch, fixed sin-cos positions for all
    tokens, `depth` pre-norm blocks, a last norm and a linear layer. Starts with Xavier weights, as the released MAE.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        grid: tuple[int, int],
        prefix: int,
        decoder_width: int = 512,
        depth: int = 8,
        heads: int = 16,
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.prefix = prefix
        self.embed = nn.Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.positions = nn.Parameter(sincos_table(decoder_width, grid, prefix=prefix), requires_grad=False)
        self.blocks = nn.Sequential(
            *(Block(decoder_width, heads, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        )
        self.norm = norm(decoder_width)
        self.predict = nn.Linear(decoder_width, outputs)
        nn.init.normal_(self.mask_token, std=0.02)
        self.apply(start_xavier)

    def forward(self, tokens: Tensor, restore: Tensor) -> Tensor:
        """`restore [B, N]` puts the tokens in the order (seen, hidden) into their places."""
        tokens = self.embed(tokens)
        hidden = restore.shape[1] + self.prefix - tokens.shape[1]
        masks = self.mask_token.expand(len(tokens), hidden, -1)
        patches = put_back(torch.cat([tokens[:, self.prefix :], masks], dim=1), restore)
        tokens = torch.cat([tokens[:, : self.prefix], patches], dim=1) + self.positions
        predicted: Tensor = self.predict(self.norm(self.blocks(tokens)))
        return predicted[:, self.prefix :]


def build_decoder(options: DecoderOptions, context: Context, views: str) -> MaskedDecoder:
    """The decoder of a loss on a view group, whose images must fill the backbone's grid: its positions are fixed."""
    refuse_misfits(options, context, views)
    return MaskedDecoder(
        context.width,
        context.patch_size**2 * 3,
        grid=context.grid,
        prefix=context.prefix_tokens,
        decoder_width=options.decoder_width,
        depth=options.decoder_depth,
        heads=options.decoder_heads,
    )


def refuse_misfits(options: DecoderOptions, context: Context, views: str) -> None:
    """Refuse heads that do not divide the width, and images of another size than the backbone's own."""
    if options.decoder_width % options.decoder_heads:
        raise UserError(
            f"a decoder of width {options.decoder_width} cannot be split into {options.decoder_heads} heads",
            "make decoder_width a multiple of decoder_heads",
        )
    view = context.views.get(views)
    if view is not None and (view.size // context.patch_size,) * 2 != tuple(context.grid):
        rows, columns = context.grid
        raise UserError(
            f"views.{views} of {view.size} px do not fill the backbone's {rows} x {columns} patches",
            f"let its pictures have {rows * context.patch_size} px, or name another group in loss.views",
        )


def start_xavier(module: nn.Module) -> None:
    """Linear layers start Xavier uniform with zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
