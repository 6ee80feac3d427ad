"""The smallest recipe that trains: a ViT of width 32 on views of 16 pixels, two steps."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import tomli_w

STEPS = 2
BATCH = 8


def tiny_document(pictures: str | Path, /, *, samples: int = 24, **tables: Any) -> dict[str, Any]:
    """A recipe as plain data that trains two steps on the `samples` pictures of `pictures`.

    `tables` are joined to it: `tiny_document(folder, train={"epochs": 4}, loss=[{"name": "align"}])` changes one key of
    `train` and all of `loss`; a table that names another plugin replaces the one that was there.
    """
    document = {
        "schema": 1,
        "name": "tiny",
        "data": {"train": str(pictures), "workers": 0},
        "backbone": {"name": "vit", "width": 32, "depth": 2, "heads": 2, "patch_size": 8},
        "views": {"global": {"augmentation": "multicrop", "crops": 2, "size": 16}},
        "loss": [{"name": "simclr"}],
        "optimizer": {"name": "adamw", "lr": 0.001, "lr_batch": 0},
        "train": {"epochs": STEPS / (samples // BATCH), "batch_size": BATCH, "precision": "fp32", "log_every_steps": 1},
        "sentinel": {"every_steps": 0},
    }
    return joined(document, tables)


def joined(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A document with changes in it: tables are joined key by key, anything else is replaced."""
    result = deepcopy(dict(document))
    for key, change in changes.items():
        own = result.get(key)
        if isinstance(own, Mapping) and isinstance(change, Mapping) and not other_plugin(own, change):
            result[key] = joined(own, change)
        else:
            result[key] = deepcopy(change)
    return result


def other_plugin(own: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether a table's change names another plugin, so that the options of the former no longer fit."""
    return any(key in own and own[key] != change.get(key, own[key]) for key in ("name", "augmentation"))


def write_recipe(path: Path, document: Mapping[str, Any]) -> Path:
    """A document as a TOML file."""
    path.write_bytes(tomli_w.dumps(document).encode())
    return path
