"""How far a clustering has come, in one file that is whole or not there, so that no round is done twice."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from sslcli.nn.tensor_files import write_tensors
from sslcli_moce.clustering import Standing

TENSORS = ("centroids", "potentials", "ids")
NUMBERS = ("epsilon", "round", "passes", "changed", "moves")


def remember(file: Path, now: Standing, facts: Mapping[str, Any]) -> None:
    """Keep how far a clustering has come that depends on these facts. Raises RunError where the disk is full."""
    said = {"numbers": json.dumps({name: getattr(now, name) for name in NUMBERS}), "facts": json.dumps(dict(facts))}
    write_tensors(file, {name: getattr(now, name) for name in TENSORS}, said)


def remembered(file: Path, facts: Mapping[str, Any], rows: int, device: torch.device) -> Standing | None:
    """How far a clustering of `rows` features by the same facts has come; None where there is none."""
    try:
        with safe_open(file, framework="pt") as kept:
            said = kept.metadata()
            tensors = {name: kept.get_tensor(name) for name in TENSORS}
    except (OSError, SafetensorError):
        return None
    if json.loads(said["facts"]) != facts or len(tensors["ids"]) != rows:
        return None
    tensors |= {name: tensors[name].to(device) for name in ("centroids", "potentials")}
    return Standing(**tensors, **json.loads(said["numbers"]))
