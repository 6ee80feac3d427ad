"""The house has floors: a module imports its own floor or a lower one, and some libraries live on one floor only.

    6 cli · 5 evaluation, report · 4 training · 3 data, nn · 2 recipe · 1 api, hookspecs, plugins · 0 errors, disk

`testing` and `scaffold` stand on top of the house, for whoever builds a plugin. Plugins stand beside it: they import
`sslcli.api`, `sslcli.errors`, `sslcli.disk`, `sslcli.words`, `sslcli.nn`, `sslcli.data` and themselves. A plugin's
`commands`, a file or a folder, stand on the top floor with the host's commands, and may call all of it; its
`evaluations` and `figures` stand on the fifth, on what judges and draws. Everything is read off the syntax trees.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOST = ROOT / "sslcli"
PLUGINS = ROOT / "plugins"

FLOORS = {
    "errors": 0,
    "disk": 0,
    "words": 0,
    "api": 1,
    "hookspecs": 1,
    "offers": 1,
    "plugins": 1,
    "describe": 1,
    "recipe": 2,
    "data": 3,
    "nn": 3,
    "training": 4,
    "evaluation": 5,
    "report": 5,
    "benchmark": 5,
    "cli": 6,
    "__main__": 6,
    "scaffold": 7,
    "testing": 7,
}
PLUGIN_MAY_IMPORT = {"api", "errors", "disk", "words", "nn", "data"}
JUDGES_MAY_IMPORT = {"recipe", "training", "evaluation"}
HEAVY = {"torch", "torchvision", "timm", "numpy", "PIL", "accelerate", "datasets", "safetensors", "pyarrow"}
LIGHT_PARTS = {"api", "errors", "hookspecs", "offers", "plugins", "describe", "recipe", "cli", "scaffold", "__main__"}
LIVES_IN = {"accelerate": "training", "typer": "cli", "rich": "cli"}

HOST_FILES = sorted(HOST.rglob("*.py"))
PLUGIN_FILES = sorted(PLUGINS.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """Full module names that are imported, with their lines; `from sslcli import x` counts as `sslcli.x`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((f"{base}.{alias.name}" if base == "sslcli" else base, node.lineno) for alias in node.names)


def everywhere(path: Path) -> list[tuple[str, int]]:
    """Every import of a file, also those inside functions."""
    return list(imports(ast.walk(tree(path))))


def at_import(path: Path) -> list[tuple[str, int]]:
    """Imports that run when the file is imported: not in a function, not under TYPE_CHECKING."""
    return list(imports(run_at_import(tree(path))))


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from run_at_import(child)


def part(path: Path) -> str:
    """The part of the house that a file belongs to: `nn` of `sslcli/nn/heads.py`."""
    return path.relative_to(HOST).parts[0].removesuffix(".py")


def is_command(path: Path) -> bool:
    """Whether a file of a plugin holds commands: `commands.py`, or any file of a folder `commands`."""
    return "commands" in path.relative_to(PLUGINS).with_suffix("").parts


def judges(path: Path) -> bool:
    """Whether a file of a plugin holds evaluations or figures: `evaluation.py`, or any file of a folder `figures`."""
    parts = set(path.relative_to(PLUGINS).with_suffix("").parts)
    return bool(parts & {"evaluation", "evaluations", "figure", "figures"})


def part_imported(module: str) -> str:
    """The part that `sslcli.nn.heads` belongs to; empty for what is not of the host, or is the package itself."""
    head, _, rest = module.partition(".")
    name = rest.partition(".")[0]
    return name if head == "sslcli" and name in FLOORS else ""


def offences(paths: Iterable[Path], find: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """What breaks a rule, by file; files that keep it are left out."""
    found = {str(path.relative_to(ROOT)): list(find(path)) for path in paths}
    return {path: breaches for path, breaches in found.items() if breaches}


def top(module: str) -> str:
    """The package of a module."""
    return module.partition(".")[0]


def test_every_part_of_the_host_has_a_floor() -> None:
    assert {part(path) for path in HOST_FILES} - {"__init__"} <= set(FLOORS)


def test_a_module_imports_its_own_floor_or_lower() -> None:
    def too_high(path: Path) -> list[tuple[str, int]]:
        called = at_import(path) if part(path) == "cli" else everywhere(path)  # a command may call what is on top
        return [(m, line) for m, line in called if FLOORS.get(part_imported(m), 0) > FLOORS[part(path)]]

    assert offences(inner_files(), too_high) == {}


def test_nothing_heavy_is_imported_below_the_third_floor_or_by_a_command() -> None:
    light = [path for path in inner_files() if part(path) in LIGHT_PARTS] + [HOST / "data" / "__init__.py"]
    assert offences(light, lambda path: [found for found in at_import(path) if top(found[0]) in HEAVY]) == {}


def test_the_host_imports_no_plugin() -> None:
    plugins = {folder.name for folder in PLUGINS.iterdir()} | {"plugins"}
    assert offences(HOST_FILES, lambda path: [found for found in everywhere(path) if top(found[0]) in plugins]) == {}


def test_accelerate_lives_in_training_and_typer_and_rich_in_cli() -> None:
    def strayed(path: Path) -> list[tuple[str, int]]:
        return [found for found in everywhere(path) if LIVES_IN.get(top(found[0]), part(path)) != part(path)]

    assert offences(HOST_FILES, strayed) == {}
    in_plugins = [path for path in PLUGIN_FILES if not is_command(path)]
    assert offences(in_plugins, lambda path: [f for f in everywhere(path) if top(f[0]) in LIVES_IN]) == {}


def test_a_plugin_imports_only_its_floor_of_the_house_and_itself() -> None:
    def not_allowed(path: Path) -> Iterator[tuple[str, int]]:
        own = path.relative_to(PLUGINS).parts[0]
        allowed = PLUGIN_MAY_IMPORT | (JUDGES_MAY_IMPORT if judges(path) else set())
        for module, line in everywhere(path):
            other_plugin = top(module) == "plugins" or (top(module).startswith("sslcli_") and top(module) != own)
            of_host = top(module) == "sslcli" and part_imported(module) not in allowed
            if other_plugin or (of_host and not is_command(path)):
                yield module, line

    assert offences(PLUGIN_FILES, not_allowed) == {}


def test_a_plugin_offers_and_describes_itself_and_its_commands_without_torch() -> None:
    named = ("__init__.py", "options.py")
    light = [path for path in PLUGIN_FILES if path.name.endswith(named) or is_command(path)]
    assert offences(light, lambda path: [found for found in at_import(path) if top(found[0]) in HEAVY]) == {}


def test_the_host_never_asks_which_method_is_running() -> None:
    def asked(path: Path) -> list[str]:
        compared = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Compare)]
        return [ast.unparse(node) for node in compared if names_offered() & set(texts(node))]

    assert offences(HOST_FILES, asked) == {}


def inner_files() -> list[Path]:
    """The files of the host but for `sslcli/__init__.py`, which is the house itself."""
    return [path for path in HOST_FILES if path != HOST / "__init__.py"]


def texts(node: ast.Compare) -> Iterator[str]:
    """The strings that a comparison compares with."""
    for side in (node.left, *node.comparators):
        values = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
        yield from (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))


@cache
def names_offered() -> frozenset[str]:
    """The names of all methods on offer; evaluations and figures have common words for names, such as linear."""
    from sslcli.plugins import load_registry

    offers = (offer for plugin in load_registry().plugins for offer in plugin.offers)
    return frozenset(offer.name for offer in offers if offer.kind not in ("evaluation", "figure"))


def modules_after(*arguments: str) -> set[str]:
    """The modules that a Python process has imported at its end."""
    code = f"import sys; from sslcli.cli import run; run({list(arguments)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {module.partition(".")[0] for module in done.stdout.splitlines()[-1].split()}


def test_help_imports_no_torch_accelerate_pydantic_or_plugin() -> None:
    modules = modules_after("--help")
    assert modules.isdisjoint({"torch", "accelerate", "pydantic", "numpy", "PIL", "datasets", "timm"})
    assert not {module for module in modules if module.startswith("sslcli_")}


def test_listing_plugins_imports_no_torch() -> None:
    assert modules_after("plugins", "list").isdisjoint(HEAVY)


def test_showing_a_plugin_imports_no_torch() -> None:
    assert modules_after("plugins", "show", "multicrop").isdisjoint(HEAVY)


def test_the_rules_can_fail(tmp_path: Path) -> None:
    """The reader of syntax trees sees imports in functions, and knows which of them run at import."""
    path = tmp_path / "a.py"
    path.write_text("import json\nfrom sslcli import nn\ndef f():\n    import torch\nif x == 'mae': pass\n")
    assert [module for module, _ in everywhere(path)] == ["json", "sslcli.nn", "torch"]
    assert [module for module, _ in at_import(path)] == ["json", "sslcli.nn"]
    assert FLOORS[part_imported("sslcli.nn.heads")] == 3
    assert [list(texts(node)) for node in ast.walk(tree(path)) if isinstance(node, ast.Compare)] == [["mae"]]
