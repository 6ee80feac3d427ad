"""Words for numbers and options."""

from collections.abc import Iterable


def counted(number: float, thing: str) -> str:
    """`1 set`, `3 sets`, `0.5 epochs`; a plural is made by an s."""
    said = str(number) if isinstance(number, int) else f"{number:g}"
    return f"{said} {thing}" if number == 1 else f"{said} {thing}s"


def flags(names: Iterable[str]) -> str:
    """`--epochs, --batch-size`: options as they are typed."""
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
