"""Ask the hooks of one plugin what it offers, and refuse what is not fit: `Unfit` says why, in words for its author."""

import os
import re
import sys
from collections.abc import Iterable
from inspect import isfunction
from typing import Any

import pluggy

from sslcli import hookspecs
from sslcli.api import (
    Augmentation,
    Backbone,
    Evaluation,
    Figure,
    Importer,
    Loss,
    MixOptions,
    Offer,
    Options,
    Routing,
    ViewOptions,
)
from sslcli.errors import did_you_mean

HOOKS: dict[str, type[Offer]] = {
    "sslcli_losses": Loss,
    "sslcli_augmentations": Augmentation,
    "sslcli_backbones": Backbone,
    "sslcli_routings": Routing,
    "sslcli_importers": Importer,
    "sslcli_evaluations": Evaluation,
    "sslcli_figures": Figure,
}
KINDS = tuple(record.kind for record in HOOKS.values())
ABILITIES = ("tokens", "masking", "attention_mask", "attention_choice", "experts")
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
NAMED_BY = {"augmentation": "augmentation"}  # the key of a recipe's table that names the plugin; `name` for other kinds


class Unfit(Exception):
    """What a plugin did wrong, in words for its author."""


def ask_hooks(name: str, module: Any) -> tuple[Offer, ...]:
    """Every record that the hooks of one plugin yield."""
    manager = pluggy.PluginManager("sslcli")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    refuse_misspelt_hooks(manager, module)
    callers = manager.get_hookcallers(module)
    if not callers:
        raise Unfit(f"it has no hook; a plugin defines one of {', '.join(HOOKS)} under @hookimpl")
    return tuple(offer for caller in callers for offer in ask(name, caller))


def refuse_misspelt_hooks(manager: pluggy.PluginManager, module: Any) -> None:
    """No hook under an unknown name, and no hook that lacks its mark: pluggy would pass over both."""
    marked = {caller.name for caller in manager.get_hookcallers(module) or ()}
    for name in sorted(marked - set(HOOKS)):
        raise Unfit(f"there is no hook called {name}; {did_you_mean(name, HOOKS)}")
    for name in HOOKS:
        if name not in marked and isfunction(getattr(module, name, None)):
            raise Unfit(f"{name} lacks its mark, @hookimpl of sslcli.api")
    manager.check_pending()


def ask(name: str, caller: pluggy.HookCaller) -> Iterable[Offer]:
    """The records of one hook of a plugin, each looked over."""
    for answer in caller():
        try:
            records = list(answer)
        except TypeError as error:
            raise Unfit(f"{caller.name} must yield records, not return {type(answer).__name__}") from error
        for record in records:
            refuse_unfit(caller.name, record)
        if os.environ.get("SSLCLI_TRACE", "") not in ("", "0"):
            said = ", ".join(f"{record.kind} '{record.name}'" for record in records)
            print(f"trace: {name}: {caller.name}() -> {said or 'nothing'}", file=sys.stderr)
        yield from records


def refuse_unfit(hook: str, record: Any) -> None:
    """A record must be of the hook's kind, well named, and its options must derive from the kind's base."""
    kind = HOOKS[hook]
    if not isinstance(record, kind):
        raise Unfit(f"{hook} must yield {kind.__name__} records, not {type(record).__name__}")
    if not (isinstance(record.name, str) and NAME.fullmatch(record.name)):
        raise Unfit(f"{record.name!r} is no name for a {kind.kind}: small letters, digits, and _ . - between them")
    if not (isinstance(record.code, str) and CODE.fullmatch(record.code)):
        raise Unfit(f"code of {kind.kind} '{record.name}' must be 'package.module:Attribute', not {record.code!r}")
    refuse_unfit_options(record)
    for ability in (*abilities_needed(record), *getattr(record, "abilities", ())):
        if ability not in ABILITIES:
            raise Unfit(f"'{record.name}' names the ability '{ability}'; {did_you_mean(ability, ABILITIES)}")


def abilities_needed(record: Offer) -> tuple[str, ...]:
    """The abilities that a loss asks of the backbone."""
    return record.needs if isinstance(record, Loss) else ()


def refuse_unfit_options(offer: Offer) -> None:
    """The options are a class under the kind's base, without a key that the recipe's table uses for itself."""
    base = base_of(offer)
    if not (isinstance(offer.options, type) and issubclass(offer.options, base)):
        raise Unfit(f"the options of {offer.kind} '{offer.name}' must derive from sslcli.api.{base.__name__}")
    reserved = NAMED_BY.get(offer.kind, "name")
    if reserved in offer.options.model_fields:
        raise Unfit(f"the options of '{offer.name}' must not have '{reserved}', the key that names the {offer.kind}")


def base_of(offer: Offer) -> type[Options]:
    """The class that the options of an offer derive from."""
    if isinstance(offer, Augmentation):
        return MixOptions if offer.mixes else ViewOptions
    return offer.base
