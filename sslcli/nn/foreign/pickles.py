"""Pickles of other libraries, read without those libraries: what they say becomes data, and nothing of it is executed.

A pickle is a program for a small machine with a stack and a memo. Python's own machine imports what the program names
and calls it; this one knows words, numbers and their containers, and hands every name, call and state to `stand_ins`.
`pickletools.genops` cuts the file into instructions, and imports nothing either.

Long stretches of bytes stay on the disk until they are used, so what nobody reads of a large checkpoint costs nothing.
"""

import pickletools
from collections.abc import Callable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any, cast

from sslcli.errors import UserError
from sslcli.nn.foreign.stand_ins import Name, add, call, plain_key, put, set_state
from sslcli.nn.foreign.stored_arrays import Stretch, Unreadable, word
from sslcli.nn.references import first_line

FOREIGN_PICKLES = (".pkl", ".pickle", ".dill")
MOST_STEPS = 10_000_000  # far more than a checkpoint needs; each may make an object of some hundred bytes
LONG = 1 << 16  # bytes
PREFIXES = {  # bytes before the argument of the instructions that may have a long one: how long it is
    **{"BINSTRING": 4, "BINBYTES": 4, "BINUNICODE": 4},
    **{"BINBYTES8": 8, "BINUNICODE8": 8, "BYTEARRAY8": 8},
}


def read_foreign_pickle(path: Path) -> Any:
    """What a pickle holds: words, numbers, containers, a `StoredArray` for each array, a `Record` for anything else.

    Raises UserError for a damaged file, and for one that refers to what is not in it.
    """
    try:
        with path.open("rb") as file:
            return Machine(mmap(file.fileno(), 0, access=ACCESS_READ)).run()
    except Unreadable as reason:
        hint = "is it a checkpoint of arrays, words and numbers?"
        raise UserError(f"{path} is not taken: it has {reason}", hint) from None
    except Exception as failure:  # a damaged pickle may fail in any way: IndexError, KeyError, ValueError, ...
        said = f"{type(failure).__name__}: {first_line(failure)}"
        raise UserError(f"{path} cannot be read as a pickle: {said}", "the file is damaged, or no pickle") from None


class Machine:
    """Reads one pickle: `stack` since the last mark, `below` the stacks under the marks, `memo` what has a number."""

    def __init__(self, file: mmap) -> None:
        self.file = file
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that is left at the end."""
        for count, (instruction, argument, position) in enumerate(pickletools.genops(cast("IO[bytes]", self.file))):
            if count == MOST_STEPS:
                raise Unreadable(f"more than {MOST_STEPS} instructions")
            self.step(instruction.name, argument, position or 0)
        return self.stack.pop()

    def step(self, name: str, argument: Any, position: int) -> None:
        """Follow one instruction."""
        if name in LITERALS:
            self.stack.append(self.literal(name, argument, position))
        elif name in VALUES:
            value = VALUES[name](self, argument)  # may change which stack it goes to
            self.stack.append(value)
        elif name in CHANGES:
            CHANGES[name](self, argument)
        elif name in OUTSIDE:
            raise Unreadable(f"a reference to {OUTSIDE[name]}")
        elif name not in PASSED_OVER:
            raise Unreadable(f"the instruction {name}, which is unknown")

    def literal(self, name: str, argument: Any, position: int) -> Any:
        """A word or a number that stands in the file; what is long stays there."""
        start, end = position + 1 + PREFIXES.get(name, 0), self.file.tell()
        if name in PREFIXES and end - start > LONG:
            return Stretch(self.file, start, end, letters="UNICODE" in name)
        return bytes(argument) if isinstance(argument, bytearray) else argument

    def mark(self) -> None:
        """Begin to collect."""
        self.below.append(self.stack)
        self.stack = []

    def collected(self) -> list[Any]:
        """All since the last mark, which is gone then."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def top(self, count: int) -> tuple[Any, ...]:
        """The last `count` values, in order."""
        kept = len(self.stack) - count
        if kept < 0:
            raise Unreadable("an instruction without its values")
        found = tuple(self.stack[kept:])
        del self.stack[kept:]
        return found

    def drop(self) -> None:
        """Away with the last value, or with the last mark where nothing is above it."""
        if self.stack:
            self.stack.pop()
        else:
            self.collected()

    def remember(self, number: int | None) -> None:
        """Give the last value a number, the next one by default."""
        self.memo[len(self.memo) if number is None else number] = self.stack[-1]

    def add(self, values: Sequence[Any]) -> None:
        """Values into the list or set that is last now."""
        add(self.stack[-1], values)

    def put(self, flat: Sequence[Any]) -> None:
        """Keys and values by turns, into the mapping that is last now."""
        put(self.stack[-1], pairs(flat))


def pairs(flat: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Keys and values that follow each other, two by two."""
    if len(flat) % 2:
        raise Unreadable("a key without a value")
    return list(zip(flat[::2], flat[1::2]))


def filled(target: dict[Any, Any], content: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A mapping with this in it."""
    put(target, content)
    return target


def named(text: str) -> Name:
    """The name that an instruction holds itself: module and name, with a space between them."""
    module, _, name = text.partition(" ")
    return Name(module, name)


def stacked(module: Any, name: Any) -> Name:
    """The name whose two parts were left before."""
    return Name(word(module), word(name))


def called(maker: Any, *arguments: Any) -> Any:
    """What a maker and its arguments stand for."""
    return call(maker, arguments)


Step = Callable[[Machine, Any], Any]
NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
WORDS = ("STRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "SHORT_BINBYTES", *PREFIXES)
LITERALS = frozenset((*NUMBERS, *WORDS))
VALUES: Mapping[str, Step] = {  # instructions that leave a value
    "NONE": lambda machine, _: None,
    "NEWTRUE": lambda machine, _: True,
    "NEWFALSE": lambda machine, _: False,
    "EMPTY_LIST": lambda machine, _: [],
    "EMPTY_TUPLE": lambda machine, _: (),
    "EMPTY_DICT": lambda machine, _: {},
    "EMPTY_SET": lambda machine, _: set(),
    "DUP": lambda machine, _: machine.stack[-1],
    "TUPLE1": lambda machine, _: machine.top(1),
    "TUPLE2": lambda machine, _: machine.top(2),
    "TUPLE3": lambda machine, _: machine.top(3),
    "TUPLE": lambda machine, _: tuple(machine.collected()),
    "LIST": lambda machine, _: machine.collected(),
    "DICT": lambda machine, _: filled({}, pairs(machine.collected())),
    "FROZENSET": lambda machine, _: frozenset(map(plain_key, machine.collected())),
    **{name: lambda machine, number: machine.memo[number] for name in ("GET", "BINGET", "LONG_BINGET")},
    "GLOBAL": lambda machine, text: named(text),
    "STACK_GLOBAL": lambda machine, _: stacked(*machine.top(2)),
    **{name: lambda machine, _: call(*machine.top(2)) for name in ("REDUCE", "NEWOBJ")},
    "NEWOBJ_EX": lambda machine, _: called(*machine.top(3)),  # of a tuple of arguments, and a mapping of more
    "OBJ": lambda machine, _: called(*machine.collected()),
    "INST": lambda machine, text: called(named(text), *machine.collected()),
}
CHANGES: Mapping[str, Step] = {  # instructions that change what is there
    "MARK": lambda machine, _: machine.mark(),
    "POP_MARK": lambda machine, _: machine.collected(),
    "POP": lambda machine, _: machine.drop(),
    **{name: lambda machine, number: machine.remember(number) for name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")},
    "APPEND": lambda machine, _: machine.add(machine.top(1)),
    **{name: lambda machine, _: machine.add(machine.collected()) for name in ("APPENDS", "ADDITEMS")},
    "SETITEM": lambda machine, _: machine.put(machine.top(2)),
    "SETITEMS": lambda machine, _: machine.put(machine.collected()),
    "BUILD": lambda machine, _: set_state(machine.stack[-2], *machine.top(1)),
}
OUTSIDE = {  # instructions that refer to what is not in the file
    **dict.fromkeys(("PERSID", "BINPERSID"), "an object that is kept elsewhere"),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), "a class by its number in a registry"),
    **dict.fromkeys(("NEXT_BUFFER", "READONLY_BUFFER"), "bytes that are kept elsewhere"),
}
PASSED_OVER = frozenset(("PROTO", "FRAME", "STOP"))  # the version, the length of what follows, and the end
