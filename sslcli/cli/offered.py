"""Commands that plugins' offers become: one for each offer of a kind, its options as flags of their own."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup

from sslcli.cli.commands import to_command
from sslcli.errors import UserError, did_you_mean

Flags = Mapping[str, tuple[Any, Any]]  # name of a parameter -> its annotation, its default
REQUIRED = inspect.Parameter.empty


class Pooling(StrEnum):
    """How tokens become one vector."""

    AUTO = "auto"
    CLS = "cls"
    MEAN = "mean"


RUN = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run, a checkpoint, a backbone.safetensors, timm:NAME, random:RECIPE or pixels."
    ),
]
DATA = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="SPEC", help="Pictures, with splits of their own (default: those of the run)."),
]
TRIAL: Flags = {  # what every command takes that puts a RUN on trial
    "run": (RUN, REQUIRED),
    "data": (DATA, None),
    "train": (Annotated[str, typer.Option(metavar="SPEC", help="The pictures to learn from; with --test.")], ""),
    "test": (Annotated[str, typer.Option(metavar="SPEC", help="The pictures that are judged; with --train.")], ""),
    "pool": (
        Annotated[Pooling, typer.Option(help="One vector of the tokens; auto: as the recipe says.")],
        Pooling.AUTO,
    ),
    "broken_limit": (
        Annotated[float, typer.Option(min=0, max=1, help="The share of pictures that may be unreadable.")],
        0.01,
    ),
    "processes": (Annotated[int, typer.Option(min=1, help="Processes that extract features, one a GPU.")], 1),
    "cache": (Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features, and use kept ones.")], True),
}


class OfferGroup(TyperGroup, ABC):
    """The offers of one kind, each a command; its code is imported when it is called."""

    kind: ClassVar[str]
    title: ClassVar[str]
    common: ClassVar[Flags]

    @abstractmethod
    def perform(self, offer: Any, options: Any, given: dict[str, Any]) -> None:
        """Do what a command is for, with the common flags as they were given."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names on offer."""
        return list(offered(self.kind))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of an offer."""
        offers = offered(self.kind)
        if cmd_name in offers:
            return to_command(command_of(offers[cmd_name], self.common, self.perform))
        if ctx.resilient_parsing:  # the shell asks for completions
            return None
        raise UserError(f"no {self.kind} is called '{cmd_name}'", did_you_mean(cmd_name, offers))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The part of `--help` that lists the offers."""
        rows = [(name, f"{offer.summary}.") for name, offer in offered(self.kind).items()]
        if rows:
            with formatter.section(self.title):
                formatter.write_dl(rows)


def offered(kind: str) -> dict[str, Any]:
    """Every offer of a kind by name."""
    from sslcli.plugins import load_registry

    return {offer.name: offer for offer in sorted(load_registry().offers(kind), key=lambda offer: offer.name)}


def command_of(offer: Any, common: Flags, perform: Callable[[Any, Any, dict[str, Any]], None]) -> Callable[..., None]:
    """The function behind a command: the common flags, then one for each option of the offer."""
    own = option_flags(offer)
    wanted = {**common, **own}

    def called(**given: Any) -> None:
        options = chosen_options(offer, {name: given.pop(name) for name in own})
        perform(offer, options, given)

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in wanted.items()
    ]
    called.__annotations__ = {name: annotation for name, (annotation, _) in wanted.items()}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__name__ = re.sub(r"\W", "_", offer.name)
    called.__doc__ = help_of(offer)
    return called


def help_of(offer: Any) -> str:
    """What `--help` says: the options' docstring, its examples (lines that begin with `sslcli`) left as they stand."""
    return re.sub(r"\n\n(?=sslcli )", "\n\n\b\n", inspect.cleandoc(offer.options.__doc__ or offer.summary))


def option_flags(offer: Any) -> dict[str, tuple[Any, Any]]:
    """A flag for each option: what it is for, what it takes, and its default, from the options' own description."""
    from sslcli.describe import describe

    flags: dict[str, tuple[Any, Any]] = {}
    for option in describe(offer.options):
        flag, truth = option.name.replace("_", "-"), option.takes == "true or false"
        default = "" if option.default in (None, [], "") else f"default: {typed_as(option.default)}"
        facts = "; ".join(filter(None, ["" if truth else option.takes, default]))
        said = f"{option.about[:1].upper()}{option.about[1:]}" + (f" ({facts})." if facts else ".")
        names = [f"--{flag}/--no-{flag}"] if truth else [f"--{flag}"]
        kind = typer.Option(*names, metavar=None if truth else "VALUE", help=said, show_default=False)
        flags[option.name] = (Annotated[bool | None if truth else str | None, kind], None)
    return flags


def typed_as(default: Any) -> str:
    """A default as one would type it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ",".join(map(str, default)) if isinstance(default, list) else str(default)


def chosen_options(offer: Any, given: Mapping[str, Any]) -> Any:
    """The options of what was typed; every mistake names its flag. Raises UserError."""
    from sslcli.recipe.words import validate

    values = {name: read(offer, name, value) for name, value in given.items() if value is not None}
    options, wrong = validate(offer.options, values)
    if wrong:
        causes = [path[0] for path, _, _ in wrong if len(path) > 1]  # a bad value leaves its array too short as well
        mistakes = [(path[0], said) for path, said, _ in wrong if len(path) > 1 or path[0] not in causes]
        flags = [(f"--{str(name).replace('_', '-')}", given.get(str(name)), said) for name, said in mistakes]
        told = [f"{flag}{'' if value is None else f' {value}'}: {said}" for flag, value, said in flags]
        raise UserError("; ".join(dict.fromkeys(told)), next((hint for _, _, hint in wrong if hint), ""))
    return options


def read(offer: Any, name: str, value: Any) -> Any:
    """A flag's text as TOML reads it; values with commas are an array where the option takes one."""
    from sslcli.describe import describe
    from sslcli.recipe.overrides import parse_value

    if not isinstance(value, str):
        return value
    takes = next(option.takes for option in describe(offer.options) if option.name == name)
    if takes.startswith("array") and not value.startswith("["):
        return [parse_value(part.strip()) for part in value.split(",") if part.strip()]
    return value if takes.startswith("string") else parse_value(value)


def make_trial(given: dict[str, Any], *, several: bool = False) -> Any:
    """The trial that the flags of `TRIAL` ask for; they are taken out of `given`. Raises UserError."""
    from sslcli.cli.output import talk
    from sslcli.evaluation.trial import Sets, Trial

    run, data, train, test = (given.pop(name) for name in ("run", "data", "train", "test"))
    data = data or []
    if len(data) > 1 and not several:
        raise UserError(f"one --data is taken, not {len(data)}", "call the command once for each")
    twice = [spec for place, spec in enumerate(data) if Path(spec) in map(Path, data[:place])]
    if twice:
        raise UserError(f"--data {twice[0]} is named twice", "name each set once")
    sets = (Sets(data[0] if data else "", train, test),) if train or test else tuple(Sets(spec) for spec in data)
    how = {name: given.pop(name) for name in ("processes", "cache", "broken_limit")}
    return Trial(run, sets, pool=given.pop("pool").value, note=talk, **how)
