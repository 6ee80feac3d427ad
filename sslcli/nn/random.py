"""Random numbers that belong to a sample, not to a process: a counter-based generator (Philox 2x32, ten rounds).

Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". The same on every device.
"""

from zlib import crc32

import torch
from torch import Tensor

MULTIPLIER, WEYL, MASK = 0xD256D193, 0x9E3779B9, 0xFFFFFFFF


def sample_uniform(seed: int, epoch: Tensor, index: Tensor, key: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [0, 1), float32 `[B, *shape]`, fixed by seed, epoch `[B]`, index `[B]` (both int64) and key."""
    count = 1
    for size in shape:
        count *= size
    position = torch.arange(count, device=index.device)
    stream = crc32(f"{seed}/{key}".encode())
    sample = philox(index & MASK, (epoch ^ (index >> 32)) & MASK, stream)  # [B]: one key a sample
    bits = philox(position[None, :], torch.zeros_like(position)[None, :], sample[:, None])
    return ((bits >> 8).to(torch.float32) / (1 << 24)).reshape(len(index), *shape)


def philox(low: Tensor, high: Tensor, key: Tensor | int) -> Tensor:
    """The first word of Philox 2x32-10: int64 tensors that hold unsigned 32-bit numbers."""
    for _ in range(10):
        product_high, product_low = multiply(low)
        low, high = product_high ^ key ^ high, product_low
        key = (key + WEYL) & MASK
    return low


def multiply(number: Tensor) -> tuple[Tensor, Tensor]:
    """High and low word of number * MULTIPLIER, in halves so that nothing leaves int64."""
    lower, upper = number & 0xFFFF, number >> 16
    bottom, top = lower * MULTIPLIER, upper * MULTIPLIER
    carried = top + (bottom >> 16)
    return carried >> 16, ((carried & 0xFFFF) << 16) | (bottom & 0xFFFF)
