"""The help line of a command that stays unloaded: read off its source, for a list of commands imports none."""

import ast
from collections.abc import Iterator
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec


def help_line(point: EntryPoint) -> str:
    """The first line of what an app or a function says of itself; empty where the source does not show it."""
    try:
        source = source_of(point.module)
        said = next(said_by(ast.parse(source), point.attr), "")
    except (ImportError, OSError, SyntaxError, ValueError, AttributeError):  # told when the command is called
        return ""
    return said.strip().partition("\n")[0]


def source_of(module: str) -> str:
    """The text of a module, found without importing a package on the way. Raises ImportError where there is none."""
    top, *below = module.split(".")
    spec, name = find_spec(top), top
    for part in below:
        name = f"{name}.{part}"
        inside = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, inside) if inside is not None else None
    if spec is None or spec.loader is None or not hasattr(spec.loader, "get_source"):
        raise ModuleNotFoundError(f"no module {module}")
    return str(spec.loader.get_source(name) or "")


def said_by(tree: ast.Module, name: str) -> Iterator[str]:
    """The docstring of a function of this name, or the `help` that an app of this name is made with."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            yield ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                yield from words(node.value)


def words(call: ast.Call) -> Iterator[str]:
    """What a call is given as `help`, where it is written out."""
    for given in call.keywords:
        if given.arg == "help" and isinstance(given.value, ast.Constant) and isinstance(given.value.value, str):
            yield given.value.value
