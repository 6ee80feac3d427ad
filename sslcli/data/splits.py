"""The names of splits: which one is meant, and what different customs call the same."""

from collections.abc import Iterable

from sslcli.errors import UserError, did_you_mean

WHOLE = ""  # the one split of a set that is not divided
ROLES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev"),
}


def role_of(name: str) -> str | None:
    """`train`, `test` or `validation` for a split name of any custom; None for other names."""
    return next((role for role, names in ROLES.items() if name.lower() in names), None)


def divided(roles: Iterable[str | None]) -> bool:
    """Whether these are the parts of a divided set: one to train on, and one to test on."""
    found = set(roles)
    return "train" in found and len(found - {None}) > 1


def choose(splits: Iterable[str], wanted: str, spec: str) -> str:
    """The split that is meant by `wanted`, which may go by another custom's name. Raises UserError."""
    names = list(splits)
    if wanted in names:
        return wanted
    alike = [name for name in names if role_of(name) is not None and role_of(name) == role_of(wanted)]
    if alike:
        return alike[0]
    if wanted == "train" and len(names) == 1:
        return names[0]
    if names == [WHOLE]:
        raise UserError(f"no split '{wanted}' in {spec}: it is not divided into splits", f"leave out '@{wanted}'")
    raise UserError(f"no split '{wanted}' in {spec}", did_you_mean(wanted, names))
