"""A recipe in words: its losses with their papers, its backbone, views and routing, how it is trained."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslcli.api import Options
from sslcli.describe import describe
from sslcli.plugins import Registry

ARXIV = re.compile(r"arXiv:(?P<number>\d{4}\.\d{4,5}(v\d+)?|[a-z-]+/\d{7})")
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A plugin's part in a recipe: its name, what it is, where it was published, and what was asked of it."""

    name: str
    weight: str = ""  # of a loss
    summary: str = ""
    paper: str = ""
    link: str = ""  # to the paper, where it can be told
    options: str = ""  # those that differ from their defaults


def part_of(kind: str, table: Document, registry: Registry, *, key: str = "name") -> Part:
    """The part that a table of the recipe names; where its plugin is not installed, only what the table says."""
    name = str(table.get(key, ""))
    offer = next((offer for offer in registry.offers(kind) if offer.name == name), None)
    own = {option: value for option, value in table.items() if option not in (key, "weight")}
    weight = in_words(table["weight"]) if "weight" in table else ""
    if offer is None:
        return Part(name, weight, options=told(leaves(own)))
    options = told(leaves(changed(own, offer.options)))
    return Part(name, weight, offer.summary, offer.paper, link_to(offer.paper), options)


def changed(table: Document, options: type[Options]) -> dict[str, Any]:
    """What a table says other than the defaults."""
    usual = {option.name: option.default for option in describe(options)}
    return {name: value for name, value in table.items() if name not in usual or usual[name] != value}


def losses_of(recipe: Document, registry: Registry) -> list[Part]:
    """The losses in their order."""
    tables = recipe.get("loss", [])
    named = [table for table in tables if isinstance(table, Mapping)] if isinstance(tables, list) else []
    return [part_of("loss", table, registry) for table in named]


def views_of(recipe: Document, registry: Registry) -> dict[str, Part]:
    """The view groups by name."""
    views = recipe.get("views", {})
    return {name: part_of("augmentation", table, registry, key="augmentation") for name, table in views.items()}


def training_of(recipe: Document) -> dict[str, str]:
    """How long, how much at once, and how fast."""
    train, optimizer = recipe.get("train", {}), recipe.get("optimizer", {})
    facts = {
        "epochs": train.get("epochs"),
        "batch": train.get("batch_size"),
        "optimizer": optimizer.get("name"),
        "peak rate": peak_rate(train, optimizer),
        "warm-up epochs": optimizer.get("warmup_epochs") or None,
        "weight decay": optimizer.get("weight_decay"),
        "layer decay": optimizer.get("layer_decay") if optimizer.get("layer_decay") != 1.0 else None,
        "precision": train.get("precision"),
        "seed": train.get("seed"),
        "begins from": recipe.get("init") or None,
    }
    return {name: in_words(fact) for name, fact in facts.items() if fact is not None}


def peak_rate(train: Document, optimizer: Document) -> float | None:
    """The greatest learning rate: `lr * batch_size / lr_batch`, or `lr` itself where `lr_batch` is 0."""
    rate, batch = optimizer.get("lr"), optimizer.get("lr_batch", 0)
    return rate * train.get("batch_size", batch) / batch if rate is not None and batch else rate


def link_to(paper: str) -> str:
    """The page of an arXiv paper, as a reader would click it; nothing for other papers."""
    found = ARXIV.fullmatch(paper)
    return f"https://arxiv.org/abs/{found['number']}" if found else ""


def leaves(table: Document, above: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted keys of a document with their values; entries of an array of tables go by their names."""
    for key, value in table.items():
        if isinstance(value, Mapping) and value and not is_move(value):
            yield from leaves(value, f"{above}{key}.")
        elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for name, entry in zip(names_of(value), value):
                yield from leaves({k: v for k, v in entry.items() if k != "name"} or entry, f"{above}{key}[{name}].")
        else:
            yield f"{above}{key}", value


def names_of(entries: Sequence[Document]) -> list[str]:
    """A name for each entry of an array of tables: its own, numbered where it is not the first of that name."""
    names = [str(entry.get("name", "")) for entry in entries]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if name and count == 1 else f"{name}#{count}" for name, count in zip(names, counts)]


def told(options: Iterator[tuple[str, Any]]) -> str:
    """Options in a line."""
    return ", ".join(f"{name} {in_words(value)}" for name, value in options)


def in_words(value: Any) -> str:
    """A value of a recipe as a reader takes it in."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return move_in_words(value) if is_move(value) else told(leaves(value)) or "none"
    if isinstance(value, list | tuple):
        words = ", ".join(map(in_words, value))
        return f"({words})" if len(value) > 1 else words or "none"
    return str(value) if value != "" else "none"


def is_move(value: Mapping[str, Any]) -> bool:
    """Whether a table is a schedule, which is one value."""
    return {"start", "end"} <= set(value)


def move_in_words(move: Mapping[str, Any]) -> str:
    """A schedule: `0.996 to 1, cosine`, with what is unusual about it."""
    shape = [f"{in_words(move['start'])} to {in_words(move['end'])}", str(move.get("schedule", ""))]
    epochs = f"over {in_words(move['epochs'])} epochs" if move.get("epochs") is not None else ""
    steps = "once an epoch" if move.get("per") == "epoch" else ""
    return ", ".join(filter(None, [*shape, epochs, steps, "its end is reached" if move.get("reaches_end") else ""]))
