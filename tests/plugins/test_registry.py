"""Plugins are found, loaded one by one, and what is wrong with one is told."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.api import Loss, LossOptions
from sslcli.errors import UserError
from sslcli.plugins import Plugin, Registry, load_registry, provenance, resolve

Install = Callable[..., Path]

GOOD = """
from sslcli.api import Loss, LossOptions, hookimpl

class Options(LossOptions):
    "Nothing more."

@hookimpl
def sslcli_losses():
    yield Loss("{name}", Options, "{module}:Term")

class Term:
    "A term."
"""


def good(module: str, name: str = "test_loss") -> str:
    """The source of a plugin that is well."""
    return GOOD.format(module=module, name=name)


def broken_reason(install: Install, source: str) -> str:
    """Why a plugin of this source is broken."""
    install("sslcli_test_bad", source, name="bad")
    return next(broken.reason for broken in load_registry().broken if broken.name == "bad")


def offering(record: str, hook: str = "sslcli_losses", options: str = "LossOptions") -> str:
    """A plugin whose one hook yields a record made by this expression."""
    return f"""
from sslcli.api import *
from sslcli.api import hookimpl
import sslcli.api as api

class Own({options}):
    "Options."

@hookimpl
def {hook}():
    yield {record}
"""


def test_the_built_in_plugins_come_by_entry_points(fresh_registry: None) -> None:
    registry = load_registry()
    assert registry.plugin_of(registry.find("backbone", "vit")).origin == "sslcli_vit"
    assert {"mae", "moco_v3", "simclr"} <= set(registry.names("loss"))


def test_an_installed_plugin_is_found_with_its_package_and_version(install: Install) -> None:
    install("sslcli_test_a", good("sslcli_test_a"), name="a", version="2.1")
    registry = load_registry()
    plugin = registry.plugin_of(registry.find("loss", "test_loss"))
    assert (plugin.name, plugin.package, plugin.version) == ("a", "sslcli_test_a", "2.1")


def test_the_registry_is_loaded_once_for_a_set_of_files(fresh_registry: None) -> None:
    assert load_registry() is load_registry([])


def test_loading_plugins_imports_no_torch() -> None:
    code = "import sys; from sslcli.plugins import load_registry; load_registry(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_broken_plugin_is_one_warning_and_the_others_work(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    path = install("sslcli_test_bad", "x = 1\nraise RuntimeError('no luck')\n", name="bad")
    registry = load_registry()
    warnings = capsys.readouterr().err.splitlines()
    assert warnings == [f"warning: plugin 'bad' of sslcli_test_bad is broken: RuntimeError: no luck ({path}:2)"]
    assert registry.find("backbone", "vit").name == "vit"


def test_a_plugin_that_leaves_the_program_is_broken_and_the_program_goes_on(install: Install) -> None:
    assert broken_reason(install, "import sys; sys.exit(3)").startswith("SystemExit: 3")


def test_an_unknown_name_is_told_with_what_may_be_meant(fresh_registry: None) -> None:
    with pytest.raises(UserError, match="no backbone is called 'vitt'") as told:
        load_registry().find("backbone", "vitt")
    assert "did you mean 'vit'?" in told.value.hint


def test_an_unknown_name_mentions_plugins_that_are_broken_or_blocked(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLCLI_BLOCK", "resnet")
    install("sslcli_test_bad", "import sslcli_nowhere", name="bad")
    with pytest.raises(UserError) as told:
        load_registry().find("loss", "zzz")
    assert "plugin 'bad' could not be loaded: ModuleNotFoundError" in told.value.hint
    assert "blocked by SSLCLI_BLOCK: resnet" in told.value.hint


def test_a_name_that_two_packages_offer_is_an_error_that_names_both(install: Install) -> None:
    install("sslcli_test_a", good("sslcli_test_a"), version="1.0")
    install("sslcli_test_b", good("sslcli_test_b"), version="2.0")
    with pytest.raises(UserError, match=r"sslcli_test_a 1\.0 and sslcli_test_b 2\.0") as told:
        load_registry().find("loss", "test_loss")
    assert told.value.hint == "block one of them: SSLCLI_BLOCK=sslcli_test_a or SSLCLI_BLOCK=sslcli_test_b"


def test_an_importer_is_found_by_its_kind_and_name(install: Install) -> None:
    source = offering("Importer('old', Own, 'sslcli_test_a:read')", "sslcli_importers", "api.Options")
    install("sslcli_test_a", source)
    registry = load_registry()
    assert registry.find("importer", "old").options.__name__ == "Own"
    with pytest.raises(UserError, match="no importer is called 'mags'") as told:
        registry.find("importer", "mags")
    assert told.value.hint == "did you mean 'mugs'?"


def test_a_clash_does_not_stop_who_asks_for_something_else(install: Install) -> None:
    install("sslcli_test_a", good("sslcli_test_a"))
    install("sslcli_test_b", good("sslcli_test_b"))
    assert load_registry().find("loss", "mae").name == "mae"


def test_a_clash_ends_when_one_is_blocked(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_BLOCK", " sslcli_test_b ,")
    install("sslcli_test_a", good("sslcli_test_a"))
    install("sslcli_test_b", good("sslcli_test_b"))
    registry = load_registry()
    assert registry.blocked == ("sslcli_test_b",)
    assert registry.plugin_of(registry.find("loss", "test_loss")).name == "sslcli_test_a"


def test_a_blocked_plugin_is_not_imported(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_BLOCK", "bad")
    install("sslcli_test_bad", "raise RuntimeError", name="bad")
    assert load_registry().broken == ()
    assert "sslcli_test_bad" not in sys.modules


def test_blocking_a_plugin_that_is_not_there_is_told(
    fresh_registry: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSLCLI_BLOCK", "resnett")
    load_registry()
    assert "SSLCLI_BLOCK names 'resnett', but no plugin is called so; did you mean 'resnet'?" in capsys.readouterr().err


def test_tracing_prints_every_hook_call(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SSLCLI_TRACE", "1")
    install("sslcli_test_a", good("sslcli_test_a"), name="a")
    load_registry()
    assert "trace: a: sslcli_losses() -> loss 'test_loss'" in capsys.readouterr().err.splitlines()


def test_a_misspelt_hook_is_an_error_of_that_plugin(install: Install) -> None:
    reason = broken_reason(install, good("sslcli_test_bad").replace("sslcli_losses", "sslcli_loses"))
    assert reason == "there is no hook called sslcli_loses; did you mean 'sslcli_losses'?"


def test_a_hook_without_its_mark_is_an_error_of_that_plugin(install: Install) -> None:
    reason = broken_reason(install, good("sslcli_test_bad").replace("@hookimpl", ""))
    assert reason == "sslcli_losses lacks its mark, @hookimpl of sslcli.api"


def test_a_hook_with_an_argument_is_an_error_of_that_plugin(install: Install) -> None:
    reason = broken_reason(install, good("sslcli_test_bad").replace("sslcli_losses()", "sslcli_losses(recipe)"))
    assert "Argument(s) {'recipe'} are declared in the hookimpl" in reason


def test_a_module_without_hooks_is_an_error_of_that_plugin(install: Install) -> None:
    assert broken_reason(install, "x = 1").startswith("it has no hook; a plugin defines one of sslcli_losses")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (offering("'align'"), "sslcli_losses must yield Loss records, not str"),
        (offering("Routing('a', Own, 'b:C')"), "sslcli_losses must yield Loss records, not Routing"),
        (offering("Loss('a', Own, 'b.C')"), "code of loss 'a' must be 'package.module:Attribute', not 'b.C'"),
        (
            offering("Loss('A b', Own, 'b:C')"),
            "'A b' is no name for a loss: small letters, digits, and _ . - between them",
        ),
        (offering("Loss('a', api.Options, 'b:C')"), "the options of loss 'a' must derive from sslcli.api.LossOptions"),
        (offering("Loss('a', dict, 'b:C')"), "the options of loss 'a' must derive from sslcli.api.LossOptions"),
        (offering("Loss('a', Own, 'b:C', needs=('masks',))"), "'a' names the ability 'masks'; did you mean 'masking'?"),
        (
            offering("Augmentation('a', Own, 'b:C')", "sslcli_augmentations", "MixOptions"),
            "the options of augmentation 'a' must derive from sslcli.api.ViewOptions",
        ),
        (
            offering("Augmentation('a', Own, 'b:C', mixes=True)", "sslcli_augmentations", "ViewOptions"),
            "the options of augmentation 'a' must derive from sslcli.api.MixOptions",
        ),
        (
            offering("Backbone('a', Own, 'b:C')", "sslcli_backbones"),
            "the options of backbone 'a' must derive from sslcli.api.BackboneOptions",
        ),
        (
            offering("Routing('a', Own, 'b:C')", "sslcli_routings"),
            "the options of routing 'a' must derive from sslcli.api.RoutingOptions",
        ),
        (
            offering("Importer('a', dict, 'b:C')", "sslcli_importers"),
            "the options of importer 'a' must derive from sslcli.api.Options",
        ),
        (
            offering("Evaluation('a', Own, 'b:c')", "sslcli_evaluations"),
            "the options of evaluation 'a' must derive from sslcli.api.EvaluationOptions",
        ),
        (
            offering("Figure('a', Own, 'b:c')", "sslcli_figures"),
            "the options of figure 'a' must derive from sslcli.api.FigureOptions",
        ),
        (
            offering("Loss('a', Own, 'b:C'); yield Loss('a', Own, 'b:D')"),
            "it offers the loss 'a' twice",
        ),
        (
            offering("Loss('a', Own, 'b:C')").replace('"Options."', "name: str = 'x'"),
            "the options of 'a' must not have 'name', the key that names the loss",
        ),
        (offering("1").replace("yield 1", "return 1"), "sslcli_losses must yield records, not return int"),
    ],
)
def test_a_wrong_record_is_an_error_of_that_plugin(install: Install, source: str, reason: str) -> None:
    assert broken_reason(install, source) == reason


def test_a_hook_that_fails_is_an_error_with_its_place(install: Install) -> None:
    path = install("sslcli_test_bad", good("sslcli_test_bad").replace("yield", "1 / 0; yield"), name="bad")
    (broken,) = load_registry().broken
    assert broken.reason == f"ZeroDivisionError: division by zero ({path}:9)"


def test_a_single_file_is_a_plugin_under_its_stem(tmp_path: Path, fresh_registry: None) -> None:
    file = tmp_path / "my_test_loss.py"
    file.write_text(good("my_test_loss"))
    registry = load_registry([file])
    offer = registry.find("loss", "test_loss")
    assert registry.plugin_of(offer).version.startswith("sha256:")
    assert resolve(offer.code) is sys.modules["my_test_loss"].Term


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, fresh_registry: None) -> None:
    with pytest.raises(UserError, match="no such plugin file"):
        load_registry([tmp_path / "my_test_loss.py"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1", "it has no hook"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def (", "SyntaxError: invalid syntax"),
    ],
)
def test_a_broken_file_is_an_error(tmp_path: Path, fresh_registry: None, source: str, reason: str) -> None:
    file = tmp_path / "my_test_loss.py"
    file.write_text(source)
    with pytest.raises(UserError, match=f"my_test_loss.py is broken: {reason}"):
        load_registry([file])
    assert source == "x = 1" or "my_test_loss" not in sys.modules


@pytest.mark.parametrize("name", ["torch.py", "json.py", "sys.py"])
def test_a_file_with_the_name_of_another_module_is_refused(tmp_path: Path, fresh_registry: None, name: str) -> None:
    (tmp_path / name).write_text(good(name.removesuffix(".py")))
    with pytest.raises(UserError, match=f"{name} has the name of another module"):
        load_registry([tmp_path / name])


@pytest.mark.parametrize("name", ["my-loss.py", "loss.txt", "1st.py"])
def test_a_file_that_cannot_be_imported_is_refused(tmp_path: Path, fresh_registry: None, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UserError, match="cannot be imported"):
        load_registry([tmp_path / name])


def test_code_is_resolved_when_asked_for() -> None:
    assert resolve("sslcli.plugins:Registry") is Registry
    assert resolve("sslcli.plugins:Registry.find") is Registry.find


def test_code_that_is_not_there_is_told_with_what_may_be_meant() -> None:
    with pytest.raises(UserError, match=r"plugin sslcli: sslcli\.plugins has no 'Registri'") as told:
        resolve("sslcli.plugins:Registri")
    assert told.value.hint == "did you mean 'Registry'?"


def test_code_that_cannot_be_imported_is_told_with_the_plugin_and_the_reason() -> None:
    with pytest.raises(UserError, match=r"plugin sslcli_nowhere cannot import sslcli_nowhere\.loss: ModuleNotFound"):
        resolve("sslcli_nowhere.loss:Term")


def test_the_provenance_names_each_plugin_once(install: Install) -> None:
    install("sslcli_test_a", good("sslcli_test_a"), name="a", version="2.1")
    registry = load_registry()
    offer = registry.find("loss", "test_loss")
    assert provenance(registry, [offer, offer]) == [
        {"name": "a", "package": "sslcli_test_a", "version": "2.1", "origin": "sslcli_test_a"}
    ]


def test_plugin_of_tells_two_equal_offers_apart_by_who_brought_them() -> None:
    offers = [Loss("same", LossOptions, "a:B"), Loss("same", LossOptions, "a:B")]
    plugins = tuple(Plugin(name, name, "1", name, (offer,)) for name, offer in zip("xy", offers))
    assert Registry(plugins).plugin_of(offers[1]).name == "y"
