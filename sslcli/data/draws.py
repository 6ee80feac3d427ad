"""Where chance comes from: one counter-based generator for each (seed, epoch, sample, view), and nothing else.

A view's numbers depend on its group's name and its own number only, so another group, another process or another order
of work changes nothing. Philox 4x64 (Salmon et al. 2011) needs no warm-up: key and counter are the whole state.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sslcli.data.augmentation import Draw

GROUP = 1 << 32  # stands in the place of the crop's number for what all crops of a group share
WORD = (1 << 64) - 1


def view_generator(seed: int, epoch: int, index: int, group: str, crop: int) -> np.random.Generator:
    """The generator of one crop of one sample in one epoch."""
    return counted((seed, crc32(group.encode())), (0, crop, index, epoch))


def group_generator(rng: np.random.Generator) -> np.random.Generator:
    """The generator that all crops of a group share, from the one of any of them: for a coin tossed once a sample."""
    state = rng.bit_generator.state["state"]
    _, _, index, epoch = (int(word) for word in state["counter"])
    seed, group = (int(word) for word in state["key"])
    return counted((seed, group), (0, GROUP, index, epoch))


def stream_generator(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """A generator for a purpose that is no view, such as the order of an epoch; `place` is up to three numbers."""
    return counted((seed, crc32(f"stream/{purpose}".encode())), (0, *place, 0, 0, 0)[:4])


def counted(key: Sequence[int], counter: Sequence[int]) -> np.random.Generator:
    """A Philox generator that starts at a counter of four words under a key of two."""
    words = np.array([word & WORD for word in (*key, *counter)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=words[:2], counter=words[2:]))


def between(number: float, low: float, high: float) -> float:
    """A number in [0, 1) to [low, high)."""
    return low + number * (high - low)


def stack_draws(draws: Sequence[Sequence[Draw]]) -> dict[str, NDArray[np.generic]]:
    """Draws `[crops][B]` to arrays `[crops, B, ...]`: bool, int64, float32, or the type of the array that was drawn."""
    return {name: stacked([[draw[name] for draw in crop] for crop in draws]) for name in draws[0][0]}


def stacked(values: Sequence[Sequence[float | int | NDArray[np.generic]]]) -> NDArray[np.generic]:
    """One array of a nested list of numbers or arrays of one type; Python's floats become float32."""
    return np.array(values, dtype=np.float32 if isinstance(values[0][0], float) else None)
