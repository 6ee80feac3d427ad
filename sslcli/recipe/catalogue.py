"""The recipes that come with sslcli, and how a recipe is found by name or path; parts of data that come with them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sslcli
from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Listed:
    """A recipe of the catalogue: `mae/tiny`, and the first comment of its file."""

    name: str
    summary: str
    path: Path


@cache
def catalogue_folder() -> Path:
    """Where the recipes are: inside the installed package, or beside it in a checkout."""
    package = Path(sslcli.__file__).resolve().parent
    inside, beside = package / "recipes", package.parent / "recipes"
    return inside if inside.is_dir() else beside


def list_recipes() -> tuple[Listed, ...]:
    """The recipes of the catalogue, by name."""
    folder = catalogue_folder()
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.toml")}
    return tuple(Listed(name, summary_of(path), path) for name, path in sorted(paths.items()))


def list_parts() -> dict[str, Path]:
    """The parts of well-known sets that lie beside the recipes: `moce/imagenet-artifacts`, and its file."""
    folder = catalogue_folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.json"))}


def summary_of(path: Path) -> str:
    """The first comment line of a recipe."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return next((line.lstrip("#").strip() for line in lines if line.startswith("#")), "")


def find_recipe(reference: str | Path) -> Path:
    """The file of a recipe: `reference` is a path, or a name of the catalogue such as `mae/tiny`.

    Raises UserError when it is neither.
    """
    path = expand(reference)
    if path.is_file():
        return path
    named = in_catalogue(str(reference))
    if named is not None:
        return named
    raise not_found(path)


def in_catalogue(name: str) -> Path | None:
    """The file of a catalogue recipe, or None."""
    return next((listed.path for listed in list_recipes() if listed.name == name.removesuffix(".toml")), None)


def not_found(path: Path) -> UserError:
    """What to say of a reference that leads to no recipe."""
    if path.is_dir():
        inside = path / "recipe.toml"
        hint = f"did you mean '{inside}'?" if inside.is_file() else "name a TOML file, or a recipe of the catalogue"
        return UserError(f"'{path}' is a folder, not a recipe", hint)
    if path.suffix == ".toml":
        nearby = [str(path.parent / other.name) for other in path.parent.glob("*.toml")]
        hint = did_you_mean(str(path), nearby) or "`sslcli recipe new` writes one, `sslcli recipe list` shows ours"
        return UserError(f"there is no file '{path}'", hint)
    hint = did_you_mean(str(path), [listed.name for listed in list_recipes()])
    return UserError(f"no recipe is called '{path}', and there is no such file", hint)
