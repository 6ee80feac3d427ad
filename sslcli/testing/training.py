"""Two steps of real training with one offer in a tiny recipe, in a process of its own."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sslcli.api import Augmentation, Offer, ViewOptions, ViewShape
from sslcli.offers import Unfit
from sslcli.plugins import load_registry
from sslcli.testing.examples import example_options, required_options, views_read
from sslcli.testing.pictures import write_masks, write_pictures
from sslcli.testing.recipes import tiny_document, write_recipe


def stands_in_recipes(offer: Offer) -> bool:
    """Whether recipes name offers of this kind, so that one can train with it."""
    return offer.kind in TABLES


def trains_two_steps(offer: Offer, file: Path | None = None, recipe: Path | None = None) -> None:
    """Train by `recipe`, or by a tiny one made for the offer; `file` is the single-file plugin that it comes from."""
    with TemporaryDirectory() as folder:
        path = recipe or write_tiny_recipe(Path(folder), offer, file)
        plugin = ["--plugin", str(file.resolve())] if file and recipe else []
        pretrain(path, *plugin, "--output", str(Path(folder) / "run"))


def pretrain(recipe: Path, *arguments: str) -> None:
    """`sslcli pretrain`; the last lines that it said are the complaint."""
    command = [sys.executable, "-m", "sslcli", "pretrain", str(recipe), "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = " / ".join(done.stderr.strip().splitlines()[-3:])
        raise Unfit(f"`sslcli pretrain` ended with {done.returncode}: {said}")


def write_tiny_recipe(folder: Path, offer: Offer, file: Path | None) -> Path:
    """The tiny recipe with the offer in its place, on pictures of its own."""
    plugins: dict[str, Any] = {"plugins": [str(file.resolve())]} if file else {}
    data = write_pictures(folder / "pictures")
    tables = plugins | tables_for(offer, file)
    if offer.kind in ("backbone", "routing"):
        tables[offer.kind] |= offer.options.trial_values(folder, str(data))
    if looks_at_masks(offer):
        tables |= {"data": {"masks": str(write_masks(folder / "masks", data))}}
    return write_recipe(folder / "recipe.toml", tiny_document(data, **tables))


def looks_at_masks(offer: Offer) -> bool:
    """Whether an augmentation's view group asks which pixels are the object."""
    options: Any = example_options(offer)
    return isinstance(options, ViewOptions) and options.reads_masks()


def tables_for(offer: Offer, file: Path | None) -> dict[str, Any]:
    """The tables of a recipe that use this offer."""
    return TABLES[offer.kind](offer, file)


def with_loss(offer: Offer, file: Path | None) -> dict[str, Any]:
    """The loss, and a view group for all that it reads; one whose plan it reads is mixed by its own plugin."""
    options: Any = example_options(offer)
    reads = options.reads()
    groups = {group: cut(shape) for group, shape in views_read(reads, size=32 if reads.plans else 16).items()}
    groups |= {group: mixed_by(mixing_beside(offer, file)) for group in reads.plans}
    return {"loss": [{"name": offer.name, **required_options(offer)}], "views": groups}


def cut(shape: ViewShape) -> dict[str, Any]:
    """A view group that is cut from the picture."""
    return {"augmentation": "multicrop", "crops": shape.crops, "size": shape.size}


def mixed_by(offer: Offer) -> dict[str, Any]:
    """A view group that is mixed from `global`."""
    return {"augmentation": offer.name, **required_options(offer)}


def mixing_beside(offer: Offer, file: Path | None) -> Offer:
    """The first mixing augmentation of the plugin that offers a loss, or else of any."""
    plugins = load_registry([file] if file else ()).plugins
    nearest = sorted(plugins, key=lambda plugin: offer not in plugin.offers)
    mixing = [o for plugin in nearest for o in plugin.offers if isinstance(o, Augmentation) and o.mixes]
    if not mixing:
        raise Unfit("it reads how a group was mixed, and no plugin mixes")
    return mixing[0]


def with_augmentation(offer: Offer, file: Path | None) -> dict[str, Any]:
    """The augmentation in the place of the built-in one, or a mixed group that the loss reads."""
    if isinstance(offer, Augmentation) and offer.mixes:
        return {"views": {"mixed": mixed_by(offer)}, "loss": [{"name": "simclr", "views": "mixed"}]}
    return {"views": {"global": {"augmentation": offer.name, **required_options(offer), "crops": 2}}}


def with_backbone(offer: Offer, file: Path | None) -> dict[str, Any]:
    """The backbone at its defaults, on views of 32 pixels."""
    return {"backbone": {"name": offer.name, **required_options(offer)}, "views": {"global": {"size": 32}}}


def with_routing(offer: Offer, file: Path | None) -> dict[str, Any]:
    """Four experts in the last block."""
    return {"routing": {"name": offer.name, **required_options(offer), "experts": 4, "blocks": [-1]}}


TABLES: Mapping[str, Callable[[Offer, Path | None], dict[str, Any]]] = {
    "loss": with_loss,
    "augmentation": with_augmentation,
    "backbone": with_backbone,
    "routing": with_routing,
}
