"""Arrays of a pickle whose numbers stay in the file until they are asked for, and what describes them.

A pickle says of an array its shape, the type of its numbers and their bytes. All three are taken as they stand and held
against each other when the numbers are read: nothing is made room for that is not there.
"""

import math
import re
from dataclasses import dataclass
from mmap import mmap
from typing import Any

import numpy
import torch
from torch import Tensor

from sslcli.errors import UserError

PLAIN = re.compile(r"[<>|](b1|i[1248]|u1|f[248])")  # truth values, whole numbers and floating-point numbers
MOST_AXES, LONGEST = 32, 1 << 48  # of an array


class Unreadable(Exception):
    """What of a pickle cannot be taken, in words."""


def word(value: Any) -> str:
    """A word as it is. Anything else is refused: to write it out may take for ever."""
    if not isinstance(value, str):
        raise Unreadable("something else where a word should be")
    return value


@dataclass(frozen=True)
class Stretch:
    """Bytes of the file from `start` to before `end`, read when they are wanted."""

    file: mmap
    start: int
    end: int
    letters: bool  # each byte stands as the letter with its number, in UTF-8: so protocol 2 writes bytes

    def read(self) -> bytes:
        """The bytes."""
        found = self.file[self.start : self.end]
        return found.decode("utf-8").encode("latin-1") if self.letters else found


@dataclass(eq=False, repr=False)
class DataType:
    """numpy's description of the numbers of an array."""

    code: str  # such as f4, and <f4 once its order is known
    order: str = "|"

    def build(self, state: Any) -> None:
        """Of `(version, order, base, names, fields, ...)` the order; a type that is composed of others is not plain."""
        _, order, *parts = state
        self.order = word(order)
        if any(part is not None for part in parts[:3]):
            self.code = "numbers of several types"

    def __str__(self) -> str:
        return f"{self.order}{self.code}"


@dataclass(eq=False, repr=False)
class StoredArray:
    """An array whose numbers lie in the file until `tensor()` asks for them."""

    shape: tuple[int, ...] = ()
    type: DataType | None = None
    fortran: bool = False  # the first index runs fastest
    data: Any = b""

    def build(self, state: Any) -> None:
        """numpy's `(version, shape, type, whether in Fortran's order, bytes)`."""
        _, shape, kind, fortran, data = state
        if not (isinstance(shape, tuple) and len(shape) <= MOST_AXES and all(map(is_side, shape))):
            raise Unreadable("an array whose shape is no tuple of a few whole numbers")
        if not isinstance(kind, DataType):
            raise Unreadable("an array of numbers of no type")
        self.shape, self.type, self.fortran, self.data = shape, kind, bool(fortran), data

    def tensor(self) -> Tensor:
        """The numbers, as a tensor of its own. Raises UserError for what is no plain number, and for a wrong length."""
        if not PLAIN.fullmatch(str(self.type)):
            raise UserError(f"an array of {self.type} cannot be read", "known are plain numbers of up to 64 bits")
        kind = numpy.dtype(str(self.type))
        data = as_bytes(self.data)
        if len(data) != math.prod(self.shape) * kind.itemsize:
            raise UserError(
                f"an array of {list(self.shape)} numbers of {kind.itemsize} bytes has {len(data)} bytes",
                "the file is damaged",
            )
        flat = numpy.frombuffer(data, kind)
        shaped = flat.reshape(self.shape, order="F" if self.fortran else "C")
        return torch.from_numpy(numpy.array(shaped, dtype=kind.newbyteorder("="), order="C"))


def is_side(side: Any) -> bool:
    """Whether an array may be so long."""
    return isinstance(side, int) and 0 <= side < LONGEST


def as_bytes(data: Any) -> bytes:
    """The bytes of an array, however the file has them. Raises UserError."""
    try:
        if isinstance(data, Stretch):
            return data.read()
        if isinstance(data, str):  # of Python 2
            return data.encode("latin-1")
    except UnicodeError:
        raise UserError("an array has letters for bytes that are none of Latin-1", "the file is damaged") from None
    if not isinstance(data, bytes):
        raise UserError("an array holds objects in the place of numbers", "known are plain numbers of up to 64 bits")
    return data
