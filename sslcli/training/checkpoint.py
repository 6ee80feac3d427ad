"""Checkpoints: tensors by parameter name and a manifest of hashes, written beside, synced, then renamed into place.

    checkpoints/step-00001234/   model.safetensors  optimizer.safetensors  state.json  manifest.json

A folder that has its final name is whole unless the disk lost something later, which the manifest shows. No pickle.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sslcli.disk import settle, sync
from sslcli.errors import RunError, UserError
from sslcli.nn.stored import owned

MODEL, OPTIMIZER, STATE, MANIFEST = "model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
UNFINISHED = ".saving-"


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds."""

    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]  # "<parameter>//<entry>" -> tensor
    state: Mapping[str, Any]  # plain numbers and words: the step, the scaler, the sentinel


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder = run / "checkpoints"
        self.keep = keep

    def save(self, step: int, saved: Saved) -> Path:
        """Write a checkpoint; a failed one leaves the ones before it as they were."""
        final = self.folder / f"step-{step:08d}"
        if final.exists() and not damage_of(final):
            return final
        unfinished = self.folder / f"{UNFINISHED}{final.name}"
        try:
            self.discard_unfinished()
            unfinished.mkdir(parents=True)
            write_files(unfinished, saved)
            shutil.rmtree(final, ignore_errors=True)  # a damaged one, if any
            os.rename(unfinished, final)
            sync(self.folder)
        except (OSError, SafetensorError) as failure:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise RunError(
                f"could not save step {step} in {self.folder}: {failure}; {self.last_words()}",
                f"make room, then go on with: sslcli pretrain --resume {self.folder.parent}",
            ) from failure
        self.prune()
        return final

    def last_words(self) -> str:
        """Which checkpoint a run can go on from."""
        names = self.names()
        return f"the last checkpoint is {names[0]}" if names else "there is no checkpoint yet"

    def names(self) -> list[str]:
        """Names of the checkpoints, newest first."""
        return sorted((path.name for path in self.folder.glob("step-*")), reverse=True)

    def newest_whole(self, warn: Callable[[str], None]) -> Path | None:
        """The folder of the newest checkpoint that is not damaged; the others are told of."""
        for name in self.names():
            damage = damage_of(self.folder / name)
            if not damage:
                return self.folder / name
            warn(f"skipping the damaged checkpoint {self.folder / name}: {damage}")
        return None

    def newest(self, warn: Callable[[str], None]) -> Saved | None:
        """The newest whole checkpoint, or nothing when none was ever written."""
        whole = self.newest_whole(warn)
        if whole is not None:
            return read_files(whole)
        if self.names():
            raise UserError(
                f"every checkpoint in {self.folder} is damaged",
                f"restore one from a backup, or remove {self.folder} to train this run from its beginning",
            )
        return None

    def prune(self) -> None:
        """Remove all but the newest `keep`; a folder loses its name before it loses its files."""
        for name in self.names()[self.keep :]:
            leaving = self.folder / f"{UNFINISHED}{name}"
            os.rename(self.folder / name, leaving)
            shutil.rmtree(leaving, ignore_errors=True)

    def discard_unfinished(self) -> None:
        """Remove what a killed save or a killed removal left behind."""
        for path in self.folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)


def checkpoint_at(path: Path, warn: Callable[[str], None]) -> Path | None:
    """The checkpoint itself, or the newest whole one of a run; None where there is neither."""
    return path if (path / MODEL).is_file() else Checkpoints(path, keep=1).newest_whole(warn)


def write_files(folder: Path, saved: Saved) -> None:
    """All files of a checkpoint, then the manifest, each synced."""
    save_file(dict(saved.model), folder / MODEL)
    save_file(dict(saved.optimizer), folder / OPTIMIZER)
    (folder / STATE).write_text(json.dumps(saved.state, indent=1))
    files = {
        name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in (MODEL, OPTIMIZER, STATE)
    }
    (folder / MANIFEST).write_text(json.dumps({"format": 1, "files": files}, indent=1))
    for name in (MODEL, OPTIMIZER, STATE, MANIFEST):
        settle(folder / name)
    sync(folder)


def damage_of(folder: Path) -> str:
    """What is wrong with a checkpoint, or nothing."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
        for name, expected in files.items():
            if (folder / name).stat().st_size != expected["bytes"] or sha256(folder / name) != expected["sha256"]:
                return f"{name} is not what was saved"
    except FileNotFoundError as missing:
        return f"{Path(missing.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return ""


def read_files(folder: Path) -> Saved:
    """A checkpoint, on the CPU."""
    state = json.loads((folder / STATE).read_text())
    return Saved(load_file(folder / MODEL), load_file(folder / OPTIMIZER), state)


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, each with memory of its own; what losses share stands under its first name."""
    first = first_names(model)
    return {name: owned(tensor) for name, tensor in model.state_dict().items() if first[name] == name}


def restore_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a model its parameters and buffers back. Raises RuntimeError when they are those of another model."""
    shared = {name: tensors[first] for name, first in first_names(model).items() if first != name and first in tensors}
    model.load_state_dict({**tensors, **shared})


def first_names(model: nn.Module) -> dict[str, str]:
    """For the name of each parameter and buffer, the first that the same tensor has."""
    first: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory of each parameter, by the parameter's name."""
    return {
        f"{name}//{entry}": owned(value)
        for name, parameter in named_parameters(optimizer)
        for entry, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give each parameter its memory back."""
    parameters = dict(named_parameters(optimizer))
    for key, value in tensors.items():
        name, _, entry = key.rpartition("//")
        parameter = parameters[name]
        like = torch.empty_like(parameter) if value.shape == parameter.shape else value  # in its memory format
        home = torch.empty_like(like, dtype=value.dtype, device=parameter.device)
        optimizer.state[parameter][entry] = home.copy_(value)


def named_parameters(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Parameters by name, from groups that list their names."""
    for group in optimizer.param_groups:
        yield from zip(group["names"], group["params"], strict=True)
