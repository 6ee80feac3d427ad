"""The first recipe of one's own: a few lines over one of ours, with what is changed most often at hand."""

import os
import tomllib
from pathlib import Path

import tomli_w

from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.recipe.layers import name_for
from sslcli.recipe.loading import load_recipe, recipe_from_document
from sslcli.recipe.tables import Recipe

PROBE = """
[probe]
data = ""  # off: unlabelled pictures have nothing to judge on; a SPEC with classes judges the backbone while it trains
"""
TEMPLATE = """\
# {title}: self-supervised pre-training over {base_shown}
#
# sslcli recipe check {file}    says what is wrong, all at once
# sslcli recipe show {file}     prints it with every default
# sslcli pretrain {file}        trains

schema = 1
{head}
[data]
{train}  # a folder, parquet:GLOB, wds:GLOB, hf:NAME, disk:PATH or demo; labels are never read
{probe}
# What is changed most often, with the values of {base_shown}; take a '#' away to change one.
[train]
# epochs = {epochs}
# batch_size = {batch_size}  # all processes and accumulation together

[optimizer]
# {lr}  # the peak rate{lr_note}
# warmup_epochs = {warmup_epochs}

[backbone]
# name = "{backbone}"  # another name starts this table afresh; its options: sslcli plugins show {backbone}
"""


def start_recipe(path: Path, data: str, base: str) -> Recipe:
    """Write a recipe for a set of pictures over another recipe, and give it back checked.

    Raises UserError when the file is there already, or there is no such folder of pictures.
    """
    if path.exists():
        raise UserError(f"'{path}' is there already", "choose another name; nothing was overwritten")
    text = starting_text(path, spec_of(data), base)
    recipe = recipe_from_document(tomllib.loads(text), origin=str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(f"cannot write '{path}': {error.strerror}", "name a file in a folder of yours") from None
    return recipe


def starting_text(path: Path, spec: str, base: str) -> str:
    """The text of a first recipe at a path."""
    extended = extends_of(base, path)
    recipe = load_recipe(base)
    optimizer = recipe.optimizer
    scaled = f", for each {optimizer.lr_batch} pictures of a batch" if optimizer.lr_batch else ""
    return TEMPLATE.format(
        title=path.stem,
        base_shown=base,
        file=path,
        head=tomli_w.dumps({"name": name_for(path), "extends": extended}),
        train=line(train=spec),
        probe=PROBE if recipe.probe else "",
        epochs=f"{recipe.train.epochs:g}",
        batch_size=recipe.train.batch_size,
        lr=line(lr=optimizer.lr),
        lr_note=scaled,
        warmup_epochs=f"{optimizer.warmup_epochs:g}",
        backbone=recipe.backbone.name,
    )


def line(**said: str | float) -> str:
    """One key and its value as TOML."""
    return tomli_w.dumps(said).strip()


def spec_of(data: str) -> str:
    """A data SPEC that means the same from everywhere: folders by their absolute paths."""
    folder = expand(data)
    if folder.is_dir():
        return str(folder.resolve())
    if data == "demo" or ":" in data:
        return data
    raise UserError(f"there is no folder '{data}'", "name a folder of pictures, or a SPEC such as parquet:GLOB or demo")


def extends_of(base: str, path: Path) -> str:
    """How a recipe at a path names its base: as it is called, or relative to the recipe's folder when it is a file."""
    if not expand(base).is_file():
        return base
    return Path(os.path.relpath(expand(base).resolve(), path.parent.resolve())).as_posix()
