"""A run that begins where another one ended: what its losses hold, besides the backbone."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sslcli.errors import UserError
from sslcli.training.checkpoint import MODEL, checkpoint_at, first_names
from sslcli.training.pretraining import Pretraining

LOSSES = "losses."


def load_losses(pretraining: Pretraining, start: Path, warn: Callable[[str], None]) -> str:
    """Give the losses the tensors that they have in a run or a checkpoint, by name; in words, how many.

    Raises UserError where `start` has none of them, or of another size.
    """
    folder = checkpoint_of(start, warn)
    first = first_names(pretraining)  # what losses share is saved once, under its first name
    state = pretraining.state_dict()
    own = {name: tensor for name, tensor in state.items() if name.startswith(LOSSES) and first[name] == name}
    given = {name: tensor for name, tensor in tensors_of(folder).items() if name in own}
    wrong = [name for name, tensor in given.items() if tensor.shape != own[name].shape]
    if wrong or (own and not given):
        said = f"{wrong[0]} is {list(given[wrong[0]].shape)}" if wrong else "nothing there is called as here"
        raise UserError(
            f"train.init_losses: what the losses hold does not fit {folder}: {said}",
            "give the losses the sizes of that run, or leave train.init_losses out",
        )
    pretraining.load_state_dict(given, strict=False)
    return f"losses: {len(given)} of {len(own)} tensors from {folder}"


def checkpoint_of(start: Path, warn: Callable[[str], None]) -> Path:
    """The newest whole checkpoint of a run, or the checkpoint itself. Raises UserError."""
    found = checkpoint_at(start, warn)
    if found is None:
        raise UserError(
            f"train.init_losses: {start} has no checkpoint, and only there are decoders and projectors kept",
            "let init name a run of sslcli or one of its checkpoints, or leave train.init_losses out",
        )
    return found


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """What a checkpoint holds of the model. Raises UserError."""
    try:
        tensors: dict[str, Tensor] = load_file(folder / MODEL)
    except (SafetensorError, OSError) as failure:
        raise UserError(f"{folder / MODEL} cannot be read: {failure}", "name another checkpoint") from None
    return tensors
