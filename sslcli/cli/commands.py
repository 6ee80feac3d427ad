"""Which commands there are, told without importing one of them; a command is loaded when it is called."""

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from keyword import iskeyword
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from sslcli.errors import Interrupted, UserError, did_you_mean

COMMANDS = {  # name -> what it does, as `sslcli --help` says it; the file is sslcli/cli/<name>.py
    "pretrain": "Train a backbone by a recipe, or go on with a run.",
    "import": "Make a run of weights that other code released.",
    "eval": "Judge a backbone.",
    "show": "Draw what a backbone has learned.",
    "report": "Write what is known of a run into one HTML file.",
    "export": "Hand a trained backbone over to other tools.",
    "compare": "Lay the evaluations and recipes of runs side by side.",
    "recipe": "List, show, check and begin recipes.",
    "plugins": "List, show, begin and check plugins.",
    "bench": "Measure how fast a recipe trains, and where the time goes.",
}
PLUGIN_GROUP = "sslcli.commands"


class CommandGroup(TyperGroup):
    """The top of the command line: knows names and one line each, and imports a command only when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The host's commands in their order, then those of plugins."""
        return [*COMMANDS, *plugin_commands()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, imported now."""
        offered = plugin_commands()
        if cmd_name in COMMANDS:
            return own_command(cmd_name)
        if cmd_name in offered:
            return plugin_command(cmd_name, offered[cmd_name])
        if ctx.resilient_parsing:  # the shell asks for completions
            return None
        raise UserError(f"unknown command '{cmd_name}'", did_you_mean(cmd_name, self.list_commands(ctx)))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is told like other errors, where typer would leave without a word."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The part of `--help` that lists the commands, without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))
        offered = [(name, line_of(points)) for name, points in plugin_commands().items()]
        if offered:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(offered)


def plugin_commands() -> dict[str, list[EntryPoint]]:
    """Commands that installed packages bring, less those blocked by SSLCLI_BLOCK or named like one of ours."""
    hidden = {*COMMANDS, *os.environ.get("SSLCLI_BLOCK", "").replace(" ", "").split(",")}
    offered: dict[str, list[EntryPoint]] = {}
    for point in sorted(entry_points(group=PLUGIN_GROUP), key=lambda point: point.name):
        if point.name not in hidden:
            offered.setdefault(point.name, []).append(point)
    return offered


def line_of(points: list[EntryPoint]) -> str:
    """What a command of plugins does, as its source says; else the packages that it comes from."""
    from sslcli.cli.help_lines import help_line

    said = help_line(points[0]) if len(points) == 1 else ""
    return said or f"From {packages_of(points)}."


def packages_of(points: Iterable[EntryPoint]) -> str:
    """The packages that bring these entry points, with their versions."""
    return " and ".join(f"{point.dist.name} {point.dist.version}" if point.dist else point.value for point in points)


def own_command(name: str) -> Any:
    """A command of the host: `app` of its file, or the function that is named like it.

    A name that Python keeps for itself, such as `import`, has an underscore behind it there.
    """
    written = f"{name}_" if iskeyword(name) else name
    module = import_module(f"sslcli.cli.{written}")
    return to_command(getattr(module, "app", None) or getattr(module, written))


def plugin_command(name: str, points: list[EntryPoint]) -> Any:
    """A command of a package; one that cannot be loaded is the package's fault, and said so."""
    if len(points) > 1:
        raise UserError(
            f"command '{name}' comes from {packages_of(points)}", "uninstall one of them, or block it with SSLCLI_BLOCK"
        )
    try:
        return to_command(points[0].load())
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"command '{name}' of {packages_of(points)} cannot be loaded: {reason}",
            f"upgrade or uninstall {packages_of(points)}",
        ) from error


def to_command(source: "typer.Typer | Callable[..., Any]") -> Any:
    """An app as a group of commands, a function as one command; their help in plain text, as everywhere in sslcli."""
    if isinstance(source, typer.Typer):
        source.rich_markup_mode = None
        return get_group(source)
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command()(source)
    return get_command(single)
