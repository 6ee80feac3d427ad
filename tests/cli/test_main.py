"""The top of the command line: what is listed, what is loaded, and how errors are told."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from sslcli.cli import commands, run
from sslcli.errors import Collapse, RunError, UserError
from sslcli.offers import KINDS

HEAVY = {"torch", "accelerate", "pydantic", "datasets", "timm", "numpy", "PIL", "pluggy", "rich"}
Say = Callable[..., None]
Captured = pytest.CaptureFixture[str]


def modules_after(*arguments: str) -> set[str]:
    """The modules that a fresh process has loaded when a command has run."""
    code = f"import sys; from sslcli.cli import run; run({list(arguments)}); print('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("|")[2].split())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put a function in the place of `sslcli bench`."""

    def install(function: Callable[..., Any]) -> None:
        module = ModuleType("sslcli.cli.bench")
        module.bench = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sslcli.cli.bench", module)

    return install


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let packages bring commands: `plugins(moce="some.module:app")`."""

    def install(*points: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, commands.PLUGIN_GROUP) for name, value in points]
        monkeypatch.setattr(commands, "entry_points", lambda group: found)

    return install


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_and_version_load_nothing_heavy_and_no_plugin(arguments: list[str]) -> None:
    loaded = modules_after(*arguments)
    assert HEAVY.isdisjoint(loaded)
    assert not [name for name in loaded if name.startswith("sslcli_")]
    listing = {"sslcli.cli.commands", "sslcli.cli.help_lines"}
    assert not [name for name in loaded - listing if name.startswith("sslcli.cli.")]


@pytest.mark.parametrize(
    "arguments",
    [["recipe", "--help"], ["recipe", "list"], ["recipe", "check", "quickstart"]]
    + [[command, "quickstart", "--set", "train.epoch=1"] for command in ("pretrain", "bench")],
)
def test_commands_about_recipes_and_mistakes_in_recipes_load_no_torch(arguments: list[str]) -> None:
    assert {"torch", "accelerate", "datasets", "timm"}.isdisjoint(modules_after(*arguments))


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in commands.COMMANDS)


def leaves(*path: str) -> list[tuple[str, ...]]:
    """A command and, when it is a group, its commands instead."""
    command = commands.own_command(path[0])
    names = command.list_commands(None) if hasattr(command, "list_commands") else []
    return [(*path, name) for name in names] or [path]


@pytest.mark.parametrize("path", [leaf for name in commands.COMMANDS for leaf in leaves(name)], ids=" ".join)
def test_every_command_has_help_with_an_example_and_gives_json(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"\n  sslcli {' '.join(path)}" in said
    assert "--json" in said


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recpe"]) == 2
    assert capsys.readouterr().err == "error: unknown command 'recpe'\nhint: did you mean 'recipe'?\n"


def test_a_mistake_in_the_arguments_is_told_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "show"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: missing argument")
    assert hint == "hint: see 'sslcli recipe show --help'"


def test_what_is_wrong_with_an_option_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plugins", "new", "align"]) == 2
    assert run(["plugins", "new", "align", "--kind", "los"]) == 2
    errors = capsys.readouterr().err.splitlines()[::2]
    kinds = (", ".join(KINDS), ", ".join(f"'{kind}'" for kind in KINDS))
    assert errors[0] == f"error: missing option '--kind'. Choose from: {kinds[0]}"
    assert errors[1] == f"error: invalid value for '--kind': 'los' is not one of {kinds[1]}"


@pytest.mark.parametrize(("kind", "code"), [(UserError, 2), (RunError, 1), (Collapse, 3)])
def test_an_error_is_told_without_a_traceback(
    kind: type[UserError], code: int, command: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    def bench() -> None:
        raise kind("what, where [loss]", "how")

    command(bench)
    assert run(["bench"]) == code
    assert capsys.readouterr() == ("", "error: what, where [loss]\nhint: how\n")


def test_a_bug_is_told_with_a_traceback_and_a_request(command: Say, capsys: pytest.CaptureFixture[str]) -> None:
    def bench() -> None:
        raise ZeroDivisionError("by nothing")

    command(bench)
    assert run(["bench"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "please report it" in said.splitlines()[-1]


@pytest.mark.parametrize(("result", "code"), [(None, 0), (75, 75), (0, 0)])
def test_a_command_may_return_its_exit_code(result: int | None, code: int, command: Say) -> None:
    command(lambda: result)
    assert run(["bench"]) == code


def test_an_exit_of_typer_is_kept(command: Say) -> None:
    def bench() -> None:
        raise typer.Exit(75)

    command(bench)
    assert run(["bench"]) == 75


def test_an_interruption_is_told_and_exits_with_130(command: Say, capsys: pytest.CaptureFixture[str]) -> None:
    def bench() -> None:
        raise KeyboardInterrupt

    command(bench)
    assert run(["bench"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_full_disk_behind_stdout_is_no_bug(command: Say, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def bench() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    command(bench)
    monkeypatch.setattr("sslcli.cli.close_quietly", lambda: 1)
    assert run(["bench"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: cannot write the output: No space left on device"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_command_whose_streams_are_closed_does_its_work(closed: str) -> None:
    done = subprocess.run(
        f'"{sys.executable}" -m sslcli plugins list {closed}', shell=True, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "sslcli", "recipe", "schema"], stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""


def test_a_command_of_a_package_is_listed_and_run(
    plugins: Say, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = ModuleType("stranger")
    module.app = typer.Typer(help="Strange things.")  # type: ignore[attr-defined]
    module.app.command()(lambda: print("hello"))
    module.app.registered_commands[0].name = "greet"
    monkeypatch.setitem(sys.modules, "stranger", module)
    plugins(("strange", "stranger:app"))
    assert run(["--help"]) == 0
    assert run(["strange", "greet"]) == 0
    assert capsys.readouterr().out.endswith("hello\n")


def test_an_entry_point_that_is_none_stops_no_help(plugins: Say, capsys: Captured) -> None:
    plugins(("odd", "a b:c"))
    assert run(["--help"]) == 0
    assert "  odd  From a b:c." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ('app = typer.Typer(no_args_is_help=True, help="Strange things.\\n\\nAnd more.")', "Strange things."),
        ('def app():\n    """Strange things.\n\n    And more."""', "Strange things."),
        ("app = typer.Typer()", "From stranger.inner:app."),
        ("app = typer.Typer(", "From stranger.inner:app."),
    ],
)
def test_what_a_command_of_a_package_does_is_read_off_its_source(
    source: str, line: str, plugins: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "stranger" / "inner.py").write_text(f"raise SystemExit('imported')\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins(("strange", "stranger.inner:app"))
    assert run(["--help"]) == 0
    assert f"  strange  {line}\n" in capsys.readouterr().out


def test_the_commands_of_built_in_plugins_say_what_they_do(capsys: Captured) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    assert "  moce      One training, an ordinary ViT for every task (MoCE).\n" in said
    assert "  saliency  Find the objects of pictures, without labels.\n" in said


def test_a_broken_command_is_told_only_when_it_is_called(plugins: Say, capsys: pytest.CaptureFixture[str]) -> None:
    plugins(("strange", "no_such_package:app"))
    assert run(["--help"]) == 0
    assert "strange" in capsys.readouterr().out
    assert run(["strange"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: command 'strange' of no_such_package:app cannot be loaded: ModuleNotFoundError")


def test_a_command_of_two_packages_is_refused_when_called(plugins: Say, capsys: pytest.CaptureFixture[str]) -> None:
    plugins(("strange", "one:app"), ("strange", "two:app"))
    assert run(["strange"]) == 2
    assert "error: command 'strange' comes from one:app and two:app" in capsys.readouterr().err


def test_a_package_cannot_take_the_place_of_our_commands(plugins: Say, capsys: pytest.CaptureFixture[str]) -> None:
    plugins(("recipe", "no_such_package:app"))
    assert run(["recipe", "--help"]) == 0


def test_a_blocked_command_is_not_there(plugins: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins(("strange", "no_such_package:app"))
    monkeypatch.setenv("SSLCLI_BLOCK", "other, strange")
    assert commands.plugin_commands() == {}
