"""The house keeps its promises: every hook, plugin and recipe is tested, described, packaged, and works."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslcli import hookspecs
from sslcli.api import Offer
from sslcli.describe import describe
from sslcli.errors import UserError
from sslcli.offers import HOOKS
from sslcli.plugins import Plugin, load_registry, resolve
from sslcli.testing.checks import check_plugin
from sslcli.testing.training import stands_in_recipes

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").is_file())
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))
SOURCES = sorted(path for top in ("sslcli", "plugins") for path in (ROOT / top).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def built_in() -> list[Offer]:
    """Everything that the plugins of this checkout offer."""
    return [offer for plugin in load_registry().plugins if plugin.origin in PLUGINS for offer in plugin.offers]


def in_recipes(plugin: Plugin) -> bool:
    """Whether a plugin of this checkout offers what recipes name."""
    return plugin.origin in PLUGINS and any(map(stands_in_recipes, plugin.offers))


def names(offers: list[Offer]) -> list[str]:
    """Offers as tests name them."""
    return [f"{offer.kind}-{offer.name}" for offer in offers]


def shown(path: Path) -> str:
    """A file as a test names it."""
    return str(path.relative_to(ROOT))


def hook_names() -> list[str]:
    """The names of the hooks that are specified."""
    return [name for name in vars(hookspecs) if name.startswith("sslcli_")]


def test_the_registry_asks_every_hook_that_is_specified() -> None:
    assert hook_names() == list(HOOKS)


@pytest.mark.parametrize("hook", hook_names())
def test_every_hook_stands_in_the_docs_with_its_signature(hook: str) -> None:
    (kind,) = inspect.signature(getattr(hookspecs, hook)).return_annotation.__args__
    page = (ROOT / "docs" / "plugins.md").read_text()
    assert f"`{hook}() -> Iterable[{kind.__name__}]`" in page


@pytest.mark.parametrize("hook", hook_names())
def test_every_hook_is_used_by_a_plugin_or_a_template_and_is_tested(hook: str) -> None:
    sources = [*(ROOT / "plugins").rglob("__init__.py"), *(ROOT / "sslcli" / "scaffold").rglob("*.template")]
    assert any(f"def {hook}()" in source.read_text() for source in sources)
    assert hook in (ROOT / "tests" / "plugins" / "test_registry.py").read_text()


def test_every_plugin_folder_has_its_entry_point_and_every_entry_point_its_folder() -> None:
    assert sorted(PROJECT["entry-points"]["sslcli"].values()) == PLUGINS


def test_the_entry_point_of_a_plugin_is_its_name() -> None:
    assert all(module == f"sslcli_{name}" for name, module in PROJECT["entry-points"]["sslcli"].items())


def test_no_built_in_plugin_is_broken() -> None:
    registry = load_registry()
    assert [broken for broken in registry.broken if broken.package == "sslcli"] == []
    assert {plugin.origin for plugin in registry.plugins} >= set(PLUGINS)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_plugin_has_a_method_card_that_names_its_offers_and_options(plugin: str) -> None:
    card = (ROOT / "plugins" / plugin / "README.md").read_text()
    for offer in (offer for offer in built_in() if offer.code.startswith(plugin)):
        own = set(offer.options.model_fields) - set(offer.base.model_fields)
        assert offer.name in card
        assert [option for option in sorted(own) if not re.search(rf"\b{option}\b", card)] == []


@pytest.mark.parametrize("plugin", PLUGINS)
def test_every_plugin_is_tested(plugin: str) -> None:
    assert (ROOT / "tests" / "plugins" / f"test_{plugin.removeprefix('sslcli_')}.py").is_file()


@pytest.mark.parametrize("offer", built_in(), ids=names(built_in()))
def test_every_offer_has_a_summary_and_code_that_is_there(offer: Offer) -> None:
    assert offer.summary
    assert callable(resolve(offer.code))
    assert all(option.takes for option in describe(offer.options))


def test_every_offer_that_recipes_name_is_used_by_one() -> None:
    text = "\n".join(path.read_text() for path in RECIPES)
    unused = [o.name for o in built_in() if stands_in_recipes(o) and f'"{o.name}"' not in text]
    assert unused == []


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_every_recipe_is_right(path: Path) -> None:
    from sslcli.recipe import load_recipe

    try:
        recipe = load_recipe(path)
    except UserError as error:
        pytest.fail(f"{error.message}\n{error.hint}")
    assert recipe.losses


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_every_recipe_begins_with_what_it_is(path: Path) -> None:
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("plugin", sorted(PROJECT["entry-points"]["sslcli"]))
def test_every_plugin_passes_its_checks(plugin: str) -> None:
    assert [result for result in check_plugin(plugin, train=False) if result.outcome == "failed"] == []


@pytest.mark.slow
@pytest.mark.parametrize("plugin", [plugin.name for plugin in load_registry().plugins if in_recipes(plugin)])
def test_every_plugin_that_recipes_name_trains_two_steps(plugin: str) -> None:
    trained = [result for result in check_plugin(plugin) if result.check == "trains two steps"]
    assert trained
    assert [result for result in trained if result.outcome != "passed"] == []


def test_every_package_says_that_it_is_typed() -> None:
    packages = [ROOT / "sslcli", *(ROOT / "plugins" / plugin for plugin in PLUGINS)]
    assert [shown(package) for package in packages if not (package / "py.typed").is_file()] == []


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The calls in a file, by the last word of what is called: `expanduser` of `Path(x).expanduser()`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rpartition(".")[2], node


def test_every_path_is_expanded_by_sslcli_disk() -> None:
    itself = [path for path in SOURCES if any(called == "expanduser" for called, _ in calls(path))]
    assert set(map(shown, itself)) == {"sslcli/disk.py"}


def test_every_error_that_a_person_can_mend_has_a_hint() -> None:
    told = [(path, call) for path in SOURCES for called, call in calls(path) if called == "UserError"]
    assert [shown(path) for path, call in told if len(call.args) + len(call.keywords) < 2] == []


def test_no_file_of_the_host_or_of_a_plugin_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [
        shown(path) for top in ("sslcli", "plugins") for path in (ROOT / top).rglob("*.py") if path.name in drawers
    ] == []
