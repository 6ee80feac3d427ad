"""Weights by reference: a run, a file, or `timm:NAME`."""

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sslcli.disk import expand
from sslcli.errors import UserError, did_you_mean

WEIGHTS = "backbone.safetensors"
IN_FOLDERS = (WEIGHTS, "model.safetensors")  # a run; a checkpoint or a folder of the Hub
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".tar")
CONTAINERS = ("state_dict", "model", "model_state_dict", "ema", "teacher", "student", "network", "backbone", "encoder")


class State(dict[str, Tensor]):
    """Tensors by name, and where they come from in words."""

    def __init__(self, tensors: Mapping[str, Tensor], origin: str) -> None:
        super().__init__(tensors)
        self.origin = origin


def load_state(reference: str | Path) -> State:
    """Tensors of a run's folder, of a `.safetensors`, `.pth` or `.pt` file, or of timm's own weights (`timm:NAME`).

    A file that holds several networks gives the first of `CONTAINERS`; `FILE#student` names another. Nothing of a
    pickle is executed. Raises `UserError` for what cannot be found, read or downloaded.
    """
    text = str(reference)
    if text.startswith("timm:"):
        return State(timm_tensors(text.removeprefix("timm:")), text)
    name, part = (text, "") if expand(text).exists() else text.partition("#")[::2]
    path = weights_file(expand(name))
    document = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    tensors, trail = unwrap(document, part, path)
    return State(tensors, f"{path}{trail}")


def weights_file(path: Path) -> Path:
    """The file that a reference means."""
    if not path.exists():
        raise UserError(f"{path} does not exist", "name a run, a .safetensors or .pth file, or timm:NAME")
    if not path.is_dir():
        return path
    for name in IN_FOLDERS:
        if (path / name).is_file():
            return path / name
    raise UserError(
        f"{path} holds no {WEIGHTS}",
        f"if it is a run, let it finish (sslcli pretrain --resume {path}), or name one of its checkpoints",
    )


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU."""
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as failure:
        raise UserError(f"{path} cannot be read: {failure}", "the file is damaged, or no safetensors file") from None
    return tensors


def read_pickle(path: Path) -> Any:
    """The content of a torch file: tensors, numbers, words and their containers; any other object is refused.

    Tensors stay on the disk until they are used, so that what nobody reads of a large checkpoint costs nothing.
    """
    if path.suffix not in PICKLES:
        raise UserError(f"{path} is no weights file", f"known endings: .safetensors, {', '.join(PICKLES)}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles that are not its own, before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        hint = "if you trust it, open it elsewhere and save its state dict alone, best as .safetensors"
        raise UserError(f"{path} is damaged, or holds Python objects that could run code", hint) from None
    except Exception as failure:  # a damaged pickle may fail in any way: IndexError, KeyError, struct.error, ...
        said = f"{type(failure).__name__}: {first_line(failure)}" if path.stat().st_size else "it is empty"
        raise UserError(f"{path} cannot be read: {said}", "the file is damaged, or no torch file") from None


def unwrap(document: Any, part: str, path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors inside nested containers, and the way there: `["model"]["teacher"]`."""
    trail = ""
    while isinstance(document, Mapping):
        inner = [key for key in (part, *CONTAINERS) if isinstance(document.get(key), Mapping)]
        if not inner:
            break
        document, trail = document[inner[0]], f'{trail}["{inner[0]}"]'
        part = "" if inner[0] == part else part
    tensors = {name: value for name, value in items(document) if isinstance(value, Tensor)}
    if part:
        tensors, trail = below(tensors, part, path), f"{trail}#{part}"
    if not tensors:
        found = ", ".join(str(name) for name, _ in items(document)[:8])
        raise UserError(
            f"{path} holds no tensors that have names, but: {found or type(document).__name__}", "name a state dict"
        )
    return tensors, trail


def items(document: Any) -> list[tuple[str, Any]]:
    """The entries of a mapping; none of anything else."""
    return list(document.items()) if isinstance(document, Mapping) else []


def below(tensors: Mapping[str, Tensor], part: str, path: Path) -> dict[str, Tensor]:
    """The tensors whose names begin with `part.`, wherever a wrapper put it, named without it."""
    found = {name.partition(f"{part}.")[2]: tensor for name, tensor in tensors.items() if f".{part}." in f".{name}"}
    if not found:
        raise UserError(
            f"{path} has no part {part!r}", did_you_mean(part, {name.partition(".")[0] for name in tensors})
        )
    return found


def timm_tensors(name: str) -> dict[str, Tensor]:
    """timm's pretrained weights, from the cache of the Hub or downloaded into it."""
    if not timm.is_model(name):
        raise UserError(f"timm has no model {name!r}", did_you_mean(name, timm.list_models(pretrained=True)))
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as failure:  # the Hub's client, its transport and timm each raise errors of their own
        hint = "is there a network? without one, load a file: a .safetensors or .pth that you downloaded elsewhere"
        raise UserError(f"the weights of timm:{name} cannot be loaded: {first_line(failure)}", hint) from failure
    return dict(model.state_dict())


def first_line(failure: BaseException) -> str:
    """What an error says, in a line."""
    return (str(failure).strip() or type(failure).__name__).splitlines()[0]
