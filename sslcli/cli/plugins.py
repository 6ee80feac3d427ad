"""`sslcli plugins list|show|new|check`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sslcli.cli.arguments import AsJson, PluginFiles
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import DONE, USER_CAN_MEND, UserError, did_you_mean

app = typer.Typer(no_args_is_help=True, help="List, show, begin and check plugins.")


class Kind(StrEnum):
    """The kinds of plugin."""

    loss = "loss"
    augmentation = "augmentation"
    backbone = "backbone"
    routing = "routing"
    importer = "importer"
    evaluation = "evaluation"
    figure = "figure"


KINDS = [kind.value for kind in Kind]


@app.command("list")
def list_command(plugin_files: PluginFiles = None, json: AsJson = False) -> None:
    """List what the installed plugins offer, and the plugins that are broken or blocked.

    \b
    sslcli plugins list
    sslcli plugins list --plugin my_loss.py --json
    SSLCLI_BLOCK=mae sslcli plugins list
    """
    from sslcli.plugins import load_registry

    registry = load_registry(plugin_files or ())
    if json:
        print_json(list_as_data(registry))
        return
    rows = [
        (o.kind, o.name, plugin.package, plugin.version, o.summary)
        for plugin in registry.plugins
        for o in plugin.offers
    ]
    rows = sorted(rows, key=lambda row: (KINDS.index(row[0]), row[1]))
    broken = [("(broken)", plugin.name, plugin.package, "", plugin.reason) for plugin in registry.broken]
    blocked = [("(blocked)", name, "", "", "by SSLCLI_BLOCK") for name in registry.blocked]
    table([*rows, *broken, *blocked], ("kind", "name", "package", "version", "what it is"))


def list_as_data(registry: Any) -> dict[str, Any]:
    """The registry as plain data."""
    return {
        "plugins": [
            {
                "name": plugin.name,
                "package": plugin.package,
                "version": plugin.version,
                "origin": plugin.origin,
                "offers": [
                    {"kind": o.kind, "name": o.name, "summary": o.summary, "paper": o.paper} for o in plugin.offers
                ],
            }
            for plugin in registry.plugins
        ],
        "broken": [vars(plugin) for plugin in registry.broken],
        "blocked": list(registry.blocked),
    }


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A loss, augmentation, backbone, routing, importer, evaluation or figure."),
    ],
    plugin_files: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """Show one offer: its options, their defaults, the paper, what it needs or can do.

    \b
    sslcli plugins show multicrop
    sslcli plugins show align --plugin my_loss.py
    """
    from sslcli.plugins import load_registry

    registry = load_registry(plugin_files or ())
    offers = [offer for plugin in registry.plugins for offer in plugin.offers if offer.name == name]
    if not offers:
        known = {offer.name for plugin in registry.plugins for offer in plugin.offers}
        raise UserError(f"no plugin offers '{name}'", did_you_mean(name, known))
    pages = [offer_as_data(registry, offer) for offer in offers]
    if json:
        print_json({"offers": pages})
        return
    for page in pages:
        print_page(page)


def offer_as_data(registry: Any, offer: Any) -> dict[str, Any]:
    """All that is known of an offer without importing its code."""
    from inspect import getdoc

    from sslcli.describe import describe

    plugin, needs = registry.plugin_of(offer), getattr(offer, "needs", ())
    return {
        "kind": offer.kind,
        "name": offer.name,
        "summary": offer.summary,
        "paper": offer.paper,
        "package": plugin.package,
        "version": plugin.version,
        "code": offer.code,
        "needs": [needs] if isinstance(needs, str) else list(needs),
        "abilities": list(getattr(offer, "abilities", ())),
        "about": getdoc(offer.options) or "",
        "options": [vars(option) for option in describe(offer.options)],
    }


def print_page(page: dict[str, Any]) -> None:
    """An offer for a person to read."""
    print(f"{page['kind']} {page['name']}: {page['summary']}")
    for key in ("paper", "needs", "abilities"):
        if page[key]:
            print(f"{key}: {page[key] if isinstance(page[key], str) else ', '.join(page[key])}")
    print(f"from: {page['package']} {page['version']}, {page['code']}\n\n{page['about']}\n")
    rows = [(o["name"], default_of(o), o["takes"], o["about"]) for o in page["options"]]
    table(rows, ("option", "default", "takes", "what it is"))


def default_of(option: dict[str, Any]) -> str:
    """A default as a recipe would write it; what has none must be given."""
    from json import dumps

    if option["required"]:
        return "(required)"
    return "-" if option["default"] is None else dumps(option["default"], ensure_ascii=False)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, - and _.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What the plugin offers.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the package.")] = Path(
        "."
    ),
    json: AsJson = False,
) -> None:
    """Begin a plugin: write a package that installs, is found, works, and has a test of its own.

    \b
    sslcli plugins new align --kind loss
    sslcli plugins new my-crop --kind augmentation -o ~/plugins
    """
    from sslcli.plugins import load_registry
    from sslcli.scaffold import write_package

    try:
        folder = write_package(name, kind.value, output, load_registry())
    except OSError as failure:
        raise UserError(
            f"cannot write to {output}: {failure.strerror or failure}", "name another folder with --output"
        ) from failure
    if json:
        print_json({"package": str(folder), "name": name.replace("-", "_"), "kind": kind.value})
        return
    print(folder)
    talk(f"next: pip install -e {folder}")
    talk(f"      sslcli plugins check {name.replace('-', '_')}")
    if (folder / "recipe.toml").is_file():
        talk(f"      sslcli pretrain {folder / 'recipe.toml'}")
    talk(f"      python -m pytest {folder}")


@app.command()
def check(
    target: Annotated[str | None, typer.Argument(metavar="[NAME|FILE.py]", help="All plugins when left out.")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="Train by this recipe, not by a tiny one.")
    ] = None,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Whether to train two steps.")] = True,
    json: AsJson = False,
) -> int:
    """Look a plugin over: its records, its options, its code, and two steps of training.

    The exit code is 2 when a check fails.

    \b
    sslcli plugins check my_loss.py
    sslcli plugins check align --no-train
    """
    from sslcli.plugins import load_registry
    from sslcli.testing.checks import check_plugin
    from sslcli.testing.results import passed

    registry = load_registry()
    targets = [target] if target else [plugin.name for plugin in registry.plugins]
    results = []
    for number, name in enumerate(targets, start=1):
        talk(f"checking {name}" + (f" ({number} of {len(targets)})" if target is None else ""))
        results += check_plugin(name, recipe=recipe, train=train)
    well = passed(results) and not (target is None and registry.broken)
    if json:
        print_json({"ok": well, "checks": [vars(result) for result in results]})
    else:
        table([(r.outcome, r.subject, r.check, r.detail) for r in results], ("outcome", "of", "check", "detail"))
    return DONE if well else USER_CAN_MEND
