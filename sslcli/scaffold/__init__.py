"""What `sslcli plugins new` writes: a package with one offer that does something small and real, and its test.

The templates lie beside this file: `package/` is common to all kinds, the other folders hold one kind each. `$name`,
`$module` and the like are filled in by string.Template.
"""

import re
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from sslcli.disk import folder_beside
from sslcli.errors import UserError
from sslcli.offers import KINDS
from sslcli.plugins import Registry

NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
ENDING = ".template"


def write_package(name: str, kind: str, parent: Path, registry: Registry) -> Path:
    """Write `parent/sslcli-<name>` and return it; a UserError when the name is bad or taken, or the folder is there."""
    refuse_name(name, kind, registry)
    words = words_for(name, kind)
    target = parent / words["package"]
    if target.exists():
        raise UserError(f"{target} is already there", "choose another name, or another folder with --output")
    pages = rendered(kind, words)
    with folder_beside(target) as unfinished:
        for path, text in pages.items():
            (unfinished / path).parent.mkdir(parents=True, exist_ok=True)
            (unfinished / path).write_text(text, encoding="utf-8")
        return unfinished.rename(target)


def refuse_name(name: str, kind: str, registry: Registry) -> None:
    """Only names that a package, a module and a recipe can have, and that are free."""
    if not NAME.fullmatch(name):
        raise UserError(f"'{name}' is no name for a plugin", "small letters, digits and single - or _, as in my-loss")
    taken = {plugin.name for plugin in registry.plugins} | {plugin.name for plugin in registry.broken}
    if name.replace("-", "_") in {other.replace("-", "_") for other in taken | set(registry.names(kind))}:
        raise UserError(f"there is a plugin called '{name}' already", "choose another name; see 'sslcli plugins list'")


def words_for(name: str, kind: str) -> dict[str, str]:
    """What the templates ask for."""
    underscored = name.replace("-", "_")
    return {
        "name": underscored,
        "kind": kind,
        "package": f"sslcli-{name.replace('_', '-')}",
        "module": f"sslcli_{underscored}",
        "Class": "".join(part.capitalize() for part in underscored.split("_")),
        "sslcli_version": version("sslcli"),
    }


def rendered(kind: str, words: dict[str, str]) -> dict[str, str]:
    """Path in the package -> text."""
    if kind not in KINDS:
        raise UserError(f"there is no kind of plugin called '{kind}'", f"kinds: {', '.join(KINDS)}")
    home = files("sslcli.scaffold")
    templates = {**templates_in(home / "package"), **templates_in(home / kind)}
    pages = {path: Template(text).substitute(words) for path, text in templates.items()}
    return {Template(path).substitute(words): text for path, text in pages.items()} | {
        f"{words['module']}/py.typed": ""
    }


def templates_in(folder: Traversable) -> dict[str, str]:
    """Path -> text of the templates of a folder; code goes into the module, `test.py` into tests."""
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(ENDING)]
    return {place(name.removesuffix(ENDING)): (folder / name).read_text(encoding="utf-8") for name in sorted(names)}


def place(name: str) -> str:
    """Where a file of a template goes in the package."""
    if name == "test.py":
        return "tests/test_$name.py"
    return f"$module/{name}" if name.endswith(".py") else name
