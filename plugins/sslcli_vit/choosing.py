"""A block whose queries look only where a function of their own logits lets them.

logits = query key^T * scale                      [B, heads, M, M], in at least 32 bits, without gradient
mask   = choose(logits)                           true where a query may look at a key
output = softmax over the keys that are left, through the ordinary attention
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli_vit.packing import Layout, pack, packed_attention, plain


def choosing_block(block: Any, sequence: Tensor, choose: Callable[[Tensor], Tensor]) -> Tensor:
    """`Block.forward` of timm on tokens `[B, M, D]`, with the mask that `choose` makes."""
    refuse_other_block(block)
    layout = Layout.of([sequence])
    attended = packed_attention(block.attn, pack([block.norm1(sequence)]), layout, choose)
    sequence = sequence + block.drop_path1(block.ls1(attended.view_as(sequence)))
    output: Tensor = sequence + block.drop_path2(block.ls2(block.mlp(block.norm2(sequence))))
    return output


def refuse_other_block(block: Any) -> None:
    """Blocks of another form do not show their logits."""
    if not plain(block):
        raise UserError(
            f"a loss chooses keys by their logits, which a block of timm's {type(block).__name__} does not show",
            "choose a model of ordinary blocks, such as vit_small_patch16_224",
        )
