"""Look a plugin over: `check_plugin("align")` or `check_plugin("my_loss.py")`, one result a check.

What is asked of each kind stands in a file of its own (`losses`, `augmentations`, `backbones` …): functions whose
name is the check, and whose exception is the complaint.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

from sslcli.api import Offer
from sslcli.errors import UserError, did_you_mean
from sslcli.offers import Unfit
from sslcli.plugins import Plugin, Registry, load_registry, resolve
from sslcli.testing.results import CheckResult, in_sentence, passed, run_check
from sslcli.testing.training import stands_in_recipes, trains_two_steps

KIND_FILES = {
    "loss": "losses",
    "augmentation": "augmentations",
    "backbone": "backbones",
    "routing": "routings",
    "importer": "importers",
    "evaluation": "evaluations",
    "figure": "figures",
}


def check_plugin(target: str | Path, *, recipe: Path | None = None, train: bool = True) -> list[CheckResult]:
    """Every check of a plugin: by its name, by the name of something it offers, or by the path of a single file.

    `train=False` leaves out the last and slowest check, two steps of training on a tiny recipe; `recipe` is another
    recipe for it, where the tiny one does not suit. An offer that no recipe names is not trained with. Raises UserError
    when there is no such plugin, or it cannot load.
    """
    file = Path(target) if str(target).endswith(".py") else None
    registry = load_registry([file] if file else ())
    plugin = registry.plugins[-1] if file else find_plugin(registry, str(target))
    results = [run_check(f"plugin '{plugin.name}'", "offers something", partial(offers_something, plugin))]
    for offer in plugin.offers:
        own = check_offer(registry, offer)
        if train and stands_in_recipes(offer) and passed(own):
            own.append(run_check(subject(offer), "trains two steps", partial(trains_two_steps, offer, file, recipe)))
        results += own
    return results


def find_plugin(registry: Registry, name: str) -> Plugin:
    """The plugin of this name or package, or one with an offer of this name."""
    for broken in registry.broken:
        if name in (broken.name, broken.package):
            raise UserError(f"plugin '{broken.name}' cannot be loaded: {broken.reason}", f"mend {broken.package}")
    by_name = [plugin for plugin in registry.plugins if name == plugin.name]
    by_offer = [plugin for plugin in registry.plugins if name in names_of(plugin.offers)]
    by_package = [plugin for plugin in registry.plugins if name == plugin.package]
    found = by_name or by_offer or by_package
    if not found:
        known = {plugin.name for plugin in registry.plugins}.union(*(names_of(p.offers) for p in registry.plugins))
        raise UserError(f"no plugin is called '{name}'", did_you_mean(name, known))
    return found[0]


def names_of(offers: Iterable[Offer]) -> set[str]:
    """The names of some offers."""
    return {offer.name for offer in offers}


def subject(offer: Offer) -> str:
    """An offer in words."""
    return f"{offer.kind} '{offer.name}'"


def check_offer(registry: Registry, offer: Offer) -> list[CheckResult]:
    """What is true of every kind, then what is asked of this one; the rest is left out where the code is not there."""
    results = [run_check(subject(offer), in_sentence(check), partial(check, registry, offer)) for check in GENERAL]
    return results + list(check_kind(offer)) if passed(results) else results


def check_kind(offer: Offer) -> Iterator[CheckResult]:
    """What is asked of the offer's kind."""
    kind: Any = import_module(f"sslcli.testing.{KIND_FILES[offer.kind]}")
    cases: list[Any] = []
    yield run_check(subject(offer), "can be built", lambda: cases.append(kind.prepare(offer)))
    for case in cases:
        for check in kind.checks_of(offer):
            yield run_check(subject(offer), in_sentence(check), partial(check, case))


def offers_something(plugin: Plugin) -> None:
    """The hooks yielded at least one record."""
    if not plugin.offers:
        raise Unfit("its hooks yield nothing")


def is_the_only_one_of_its_name(registry: Registry, offer: Offer) -> None:
    """No other plugin offers this name."""
    registry.find(offer.kind, offer.name)


def has_code_that_can_be_called(registry: Registry, offer: Offer) -> None:
    """`code` can be imported and called."""
    if not callable(resolve(offer.code)):
        raise Unfit(f"{offer.code} cannot be called")


def says_what_it_is_for(registry: Registry, offer: Offer) -> None:
    """A summary in the record, a docstring on the options and on the code."""
    if not offer.summary:
        raise Unfit("the record has no summary")
    for thing in (offer.options, resolve(offer.code)):
        if not thing.__doc__ or not getdoc(thing):
            raise Unfit(f"{thing.__name__} has no docstring")


def has_options_with_defaults_or_examples(registry: Registry, offer: Offer) -> None:
    """The options can be made from their defaults and from `Field(examples=[...])`."""
    from sslcli.testing.examples import example_options

    example_options(offer)


GENERAL: tuple[Callable[[Registry, Offer], None], ...] = (
    is_the_only_one_of_its_name,
    has_code_that_can_be_called,
    says_what_it_is_for,
    has_options_with_defaults_or_examples,
)
