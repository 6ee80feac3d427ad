"""Checkpoints of DeepMind's experiments: which networks one holds, and after how many steps it was saved.

    {experiment_state: {online_params, online_state, ...}, step, rng}

`experiment_state` is a mapping or a named tuple; of each network there are `..._params` and `..._state`. Two plugins
read such files, and a plugin imports no other, so this room is the host's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn.foreign.stand_ins import Record
from sslcli.nn.foreign.stored_arrays import StoredArray
from sslcli.nn.loading import some
from sslcli.words import counted

LAYOUT = "such files hold experiment_state, and in it online_params and online_state"
PARTS = ("_params", "_state")
IMAGES = 1_281_167  # of ImageNet's training set


@dataclass(frozen=True)
class Experiment:
    """What a checkpoint holds."""

    entries: Mapping[str, Any]  # of `experiment_state`
    steps: int  # 0 where the file does not say

    def network(self, wanted: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Parameters and state of a network, each by module and name. Raises UserError."""
        params, state = (self.entries.get(wanted + part) for part in PARTS)
        if not isinstance(params, Mapping) or not isinstance(state, Mapping):
            raise UserError(
                f"the file has no whole {wanted} network: it holds {listed(self.entries)}", self.other(wanted)
            )
        return params, state

    def epochs(self, batch_size: int) -> float:
        """Epochs of ImageNet that the steps are, with a batch of this size."""
        return round(self.steps * batch_size / IMAGES, 2)

    def length(self, epochs: float) -> str:
        """How long it was trained, in words."""
        steps = f"{counted(self.steps, 'step')}, " if self.steps else ""
        return f"{steps}{counted(epochs, 'epoch')}" if epochs else "the file does not say how long it was trained"

    def other(self, wanted: str) -> str:
        """What to take in the place of a network that is not there."""
        names = [name.removesuffix(PARTS[0]) for name in self.entries if name.endswith(PARTS[0])]
        whole = [name for name in names if name != wanted and name + PARTS[1] in self.entries]
        return f"take it: --set network={whole[0]}" if whole else LAYOUT


def experiment_of(document: Any, fields: tuple[str, ...]) -> Experiment:
    """The experiment in a document; `fields` are those of its named tuple, where the file does not tell them."""
    if not isinstance(document, Mapping) or "experiment_state" not in document:
        raise UserError(f"the file is no checkpoint of an experiment: it holds {held(document)}", LAYOUT)
    state = document["experiment_state"]
    entries = state.fields(fields) if isinstance(state, Record) else state
    if not isinstance(entries, Mapping) or not entries:
        raise UserError("experiment_state is neither a mapping nor a named tuple of known fields", LAYOUT)
    return Experiment({str(name): value for name, value in entries.items()}, whole_number(document.get("step")))


def held(document: Any) -> str:
    """What a document holds, or what it is."""
    if isinstance(document, Mapping):
        return listed(document)
    return document.said() if isinstance(document, Record) else f"a {type(document).__name__}"


def whole_number(value: Any) -> int:
    """A positive number that is stored as such or as an array, or 0 for anything else."""
    number = values_of(value).flatten()[:1].sum().item() if isinstance(value, StoredArray | Tensor) else value
    return int(number) if isinstance(number, int | float) and 0 < number < 1e15 else 0


def values_of(value: StoredArray | Tensor) -> Tensor:
    """The numbers of an array."""
    return value.tensor() if isinstance(value, StoredArray) else value


def listed(names: Iterable[Any]) -> str:
    """The first names, and how many more there are."""
    return some(tuple(map(str, names)), 8) or "nothing"
