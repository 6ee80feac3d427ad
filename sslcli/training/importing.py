"""Weights that other code released become a run: `sslcli eval` takes it, and so does `init` of a recipe.

    file -> document -> importer -> weights and recipe -> backbone -> RUN/  recipe.toml  environment.json
                                                                            backbone.safetensors  config.json

Nothing is written before the backbone has all its weights, and then the folder comes in one move.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.api import Offer, Options
from sslcli.errors import UserError
from sslcli.nn import Backbone, Imported
from sslcli.nn.foreign.pickles import FOREIGN_PICKLES, read_foreign_pickle
from sslcli.nn.loading import some
from sslcli.nn.references import PICKLES, read_pickle, read_safetensors
from sslcli.nn.stored import save_backbone
from sslcli.plugins import load_registry, provenance, resolve
from sslcli.recipe import Recipe, recipe_from_document, to_toml
from sslcli.training import runs
from sslcli.training.building import build_backbone, context_of
from sslcli.training.checkpoint import sha256
from sslcli.training.export import card_of

MOST_NAMES = 8  # in an error
ENDINGS = (".safetensors", *PICKLES, *FOREIGN_PICKLES)


@dataclass(frozen=True)
class ImportedRun:
    """A run that was made of a file."""

    folder: Path
    recipe: str  # its name
    epoch: float
    tensors: int
    said: str  # what the importer found and left out


def import_run(
    offer: Offer, options: Options, file: Path, *, folder: Path | None = None, plugin_files: Sequence[Path] = ()
) -> ImportedRun:
    """Make a run of a file by an importer; `folder` is `runs/<name of its recipe>` when left out. Raises UserError."""
    if folder is not None:
        runs.refuse_taken(folder)  # before gigabytes are read
    imported = converted(offer, options, read_document(file))
    recipe = recipe_from_document(imported.recipe, origin=f"importer {offer.name}", plugin_files=plugin_files)
    context = context_of(recipe, samples=recipe.train.batch_size)
    backbone = build_backbone(recipe, context)
    load_strictly(backbone, imported.weights, file)
    noted = environment(offer, options, file, imported, recipe, plugin_files)
    made = runs.create(
        folder or runs.free_folder(recipe.name),
        to_toml(runs.placed(recipe)),
        noted,
        fill=partial(
            save_backbone, backbone=backbone, card=card_of(recipe, context) | {"epoch": float(imported.epoch)}
        ),
    )
    return ImportedRun(made, recipe.name, float(imported.epoch), len(imported.weights), imported.said)


def read_document(file: Path) -> Any:
    """What a file holds: tensors, numbers, words and their containers; nothing of it is executed.

    A pickle that is not torch's (`.pkl`) has a `StoredArray` for each array, and a `Record` for each other object.
    """
    if not file.exists():
        raise UserError(f"there is no file {file}", "name the .pth, .pt, .safetensors or .pkl file that was released")
    if file.is_dir():
        raise UserError(f"{file} is a folder", "name the .pth, .pt, .safetensors or .pkl file itself")
    if file.suffix not in ENDINGS:
        raise UserError(f"{file} is no weights file", f"known endings: {', '.join(ENDINGS)}")
    if file.suffix in FOREIGN_PICKLES:
        return read_foreign_pickle(file)
    return read_safetensors(file) if file.suffix == ".safetensors" else read_pickle(file)


def converted(offer: Offer, options: Options, document: Any) -> Imported:
    """What the importer makes of a document."""
    imported = resolve(offer.code)(options, document)
    if not isinstance(imported, Imported):
        raise UserError(
            f"the importer {offer.name!r} returned a {type(imported).__name__}, not a sslcli.nn.Imported",
            "let its code return sslcli.nn.Imported(weights, recipe, epoch, said)",
        )
    return imported


@torch.no_grad()
def load_strictly(backbone: Backbone, weights: Mapping[str, Tensor], file: Path) -> None:
    """Every tensor of the backbone, of its shape and finite, and none besides; half precision is widened."""
    own = backbone.exported.state_dict()
    shapes = [
        f"{name} {list(weights[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    complaints = {
        "missing": [name for name in own if name not in weights],
        "unknown": [name for name in weights if name not in own],
        "of another shape": shapes,
        "not finite": [name for name, tensor in weights.items() if not tensor.isfinite().all()],
    }
    wrong = [f"{len(names)} {what}: {some(tuple(names), MOST_NAMES)}" for what, names in complaints.items() if names]
    if wrong:
        raise UserError(
            f"the weights of {file} do not fit the backbone of their recipe: {'; '.join(wrong)}",
            "is the file of the kind that this importer reads, and whole? its options may say what the file does not",
        )
    backbone.exported.load_state_dict(weights)


def environment(
    offer: Offer, options: Options, file: Path, imported: Imported, recipe: Recipe, plugin_files: Sequence[Path]
) -> dict[str, Any]:
    """What made the run: the file by its hash, the importer with its options, all plugins with their versions."""
    registry = load_registry(plugin_files)
    plugin = registry.plugin_of(offer)
    origin = {
        "file": str(file.absolute()),
        "sha256": sha256(file),
        "bytes": file.stat().st_size,
        "importer": offer.name,
        "package": plugin.package,
        "version": plugin.version,
        "options": options.model_dump(mode="json", exclude_none=True),
        "epoch": float(imported.epoch),
        "said": imported.said,
    }
    return {
        runs.IMPORTED: origin,
        "plugins": provenance(registry, [offer, *recipe.offers()]),
        "sessions": [runs.session()],
    }
