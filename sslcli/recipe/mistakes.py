"""Mistakes of a recipe: gathered, put in the order of the file, and told all at once."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from sslcli.errors import UserError
from sslcli.recipe.keys import KeyPath, dotted, lines_of


@dataclass(frozen=True)
class Origin:
    """Who said something: a file, with its text, or a flag such as `--set train.epochs=5`."""

    name: str  # as the user knows it
    text: str = field(default="", repr=False)  # of the file, to find lines in
    rank: int = 0  # the recipe itself, then what it extends, then the flags


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: who said it, where, and how to mend it."""

    origin: Origin
    path: KeyPath  # of what is wrong
    message: str
    hint: str = ""
    line: int | None = None  # known before only when the file is not TOML


@dataclass(frozen=True)
class Told:
    """A mistake as it is shown. `file` is the flag when a flag said it."""

    file: str
    line: int | None
    path: str
    message: str
    hint: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.path} {self.message}" if self.path else f"{where}: {self.message}"


class RecipeError(UserError):
    """A recipe with mistakes; `mistakes` are all of them, in file order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tell(mistakes)
        first, *others = self.mistakes
        if not others:
            super().__init__(str(first), first.hint)
            return
        lines = [f"{told}\n  hint: {told.hint}" if told.hint else str(told) for told in self.mistakes]
        super().__init__("\n".join([f"{len(lines)} mistakes in the recipe", *lines]))

    def as_data(self) -> list[dict[str, str | int | None]]:
        """The mistakes as plain data, for `--json`."""
        return [asdict(told) for told in self.mistakes]


def tell(mistakes: Iterable[Mistake]) -> tuple[Told, ...]:
    """Mistakes with their lines: the recipe's own first, then those of what it extends, then those of flags."""
    gathered = list(dict.fromkeys(mistakes))
    lines = {origin: lines_of(origin.text, beginnings(gathered, origin)) for origin in {m.origin for m in gathered}}
    placed = [(m.origin.rank, m.line or line_of(m.path, lines[m.origin]), m) for m in gathered]
    placed.sort(key=lambda entry: (entry[0], entry[1] or 0))
    return tuple(Told(m.origin.name, line, dotted(m.path), m.message, m.hint) for _, line, m in placed)


def beginnings(mistakes: Iterable[Mistake], origin: Origin) -> set[KeyPath]:
    """The paths of mistakes of one origin, and of every table around them."""
    paths = (mistake.path for mistake in mistakes if mistake.origin == origin)
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    """The line of a key, or, when it is a missing one, of the table that lacks it."""
    known = (lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines)
    return next(known, None)
