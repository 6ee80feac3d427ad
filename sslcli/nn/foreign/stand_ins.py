"""What stands for the objects of a foreign pickle: plain data that is built here, or a record of what the file says.

A pickle makes objects by naming functions and classes and calling them. Here nothing named is looked up or called.
Makers of plain data (numpy's arrays, jax's arrays around them, Haiku's mappings, and dill's ways to write these) have
rules of their own in `MAKERS`; whatever else a file names and calls becomes a `Record`, which does nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sslcli.nn.foreign.stored_arrays import DataType, StoredArray, Stretch, Unreadable, word

KEYS = (str, int, float, bytes, type(None))  # what a mapping or a set may have: nothing with parts of its own
MOST_FIELDS = 100  # of a named tuple


@dataclass(frozen=True)
class Name:
    """A class or a function: the names of its module and its own. It is never looked up."""

    module: str
    name: str
    fields: tuple[str, ...] = ()  # of a named tuple, where the file tells them

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Record:
    """What a file says of an object that is not made: who would make it, of what, its state and what is in it."""

    maker: "Name | Record"
    arguments: tuple[Any, ...]
    state: Any = None
    content: list[Any] = field(default_factory=list)  # elements, or pairs of key and value

    def said(self) -> str:
        """What it is, in words."""
        return f"an object of {self.maker}" if isinstance(self.maker, Name) else "an object"

    def build(self, state: Any) -> None:
        """Note what the object would be told to become."""
        self.state = state

    def fields(self, names: tuple[str, ...] = ()) -> dict[str, Any]:
        """The entries of a named tuple, by the names that the file tells or else by `names`; none where they differ."""
        told = self.maker.fields if isinstance(self.maker, Name) else ()
        known = told or names
        return dict(zip(known, self.arguments)) if len(known) == len(self.arguments) else {}


def mapping(inner: Any = None) -> dict[Any, Any]:
    """A mapping around a mapping, which is not copied: a file could ask for that without end."""
    found = {} if inner is None else inner
    if not isinstance(found, dict):
        raise Unreadable("a mapping around what is none")
    return found


def put(target: Any, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Put pairs of key and value into a mapping, or note them in a record."""
    if isinstance(target, Record):
        target.content += pairs
    elif isinstance(target, dict):
        target.update((plain_key(key), value) for key, value in pairs)
    else:
        raise Unreadable("keys and values in what is no mapping")


def add(target: Any, values: Iterable[Any]) -> None:
    """Add values to a list or a set, or note them in a record."""
    if isinstance(target, Record):
        target.content += values
    elif isinstance(target, list):
        target += values
    elif isinstance(target, set):
        target.update(map(plain_key, values))
    else:
        raise Unreadable("elements in what is no list")


def plain_key(key: Any) -> Any:
    """A key as it is. Anything with parts is refused: to hash it may take for ever."""
    if not isinstance(key, KEYS):
        raise Unreadable("a key that is neither word nor number")
    return key


def encoded(text: Any, encoding: Any = "latin-1") -> Any:
    """The bytes that protocol 2 writes as letters; a long stretch of them stays in the file."""
    if encoding not in ("latin1", "latin-1"):
        raise Unreadable("bytes that are not written as letters of Latin-1")
    return text if isinstance(text, Stretch) else bytes(text, "latin-1")


def array_of(maker: Any, arguments: Any, state: Any, *_: Any) -> Any:
    """What holds an array's maker, its arguments and its state: dill's way to write it, and jax's."""
    array = call(maker, arguments)
    set_state(array, state)
    return array


def number(kind: Any, data: Any) -> StoredArray:
    """One of numpy's numbers: an array without axes."""
    array = StoredArray()
    array.build((1, (), kind, False, data))
    return array


def from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> StoredArray:
    """An array as protocol 5 has it."""
    array = StoredArray()
    array.build((1, shape, kind, order == "F", data))
    return array


def named_tuple(name: Any, fields: Any, module: Any, *_: Any) -> Name:
    """The class of a named tuple, as dill writes it."""
    if not isinstance(fields, tuple) or len(fields) > MOST_FIELDS:
        raise Unreadable("a named tuple without names")
    return Name(word(module), word(name), tuple(map(word, fields)))


def attribute(module: Any, name: Any) -> Name:
    """Something in a module, as dill writes it."""
    if not isinstance(module, Name):
        raise Unreadable("an attribute of what is no module")
    return Name(module.module, word(name))


MULTIARRAY = [f"numpy.{core}.{file}" for core in ("core", "_core") for file in ("multiarray", "_multiarray_umath")]
DILL = ("dill._dill", "dill.dill")
MAKERS: Mapping[str, Callable[..., Any]] = {
    **{f"{module}._reconstruct": lambda *_: StoredArray() for module in MULTIARRAY},
    **{f"{module}.scalar": number for module in MULTIARRAY},
    **{f"numpy.{core}.numeric._frombuffer": from_buffer for core in ("core", "_core")},
    "numpy.dtype": lambda code, *_: DataType(str(code) if isinstance(code, Name) else word(code)),
    "_codecs.encode": encoded,
    "collections.OrderedDict": mapping,
    **{f"{module}.bytes": lambda: b"" for module in ("builtins", "__builtin__")},  # none: others are encoded
    **{f"haiku._src.data_structures.{kind}": mapping for kind in ("FlatMapping", "FlatMap", "frozendict")},
    "jax._src.array._reconstruct_array": array_of,
    "jax._src.device_array.reconstruct_device_array": array_of,
    "jax.interpreters.xla._reconstruct_device_array": array_of,
    **{f"{module}._create_array": array_of for module in DILL},
    **{f"{module}._create_namedtuple": named_tuple for module in DILL},
    **{f"{module}._import_module": lambda name, *_: Name(word(name), "") for module in DILL},
    **{f"{module}._get_attr": attribute for module in DILL},
}


def call(maker: Any, arguments: Any) -> Any:
    """What a pickle means by calling a name: data by our own rules, or a record."""
    if not isinstance(maker, Name | Record) or not isinstance(arguments, tuple):
        raise Unreadable("a call of what is no name")
    known = MAKERS.get(str(maker)) if isinstance(maker, Name) else None
    return known(*arguments) if known else Record(maker, arguments)


def set_state(target: Any, state: Any) -> None:
    """What a pickle means by giving an object its state."""
    if not isinstance(target, StoredArray | DataType | Record):
        raise Unreadable("a state for what has none")
    target.build(state)
