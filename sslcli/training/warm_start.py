"""A run that begins where another one ended: what its losses hold, besides the backbone."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from sslcli.errors import UserError
from sslcli.training.checkpoint import MODEL, Checkpoints
from sslcli.training.pretraining import Pretraining

LOSSES = "losses."


def load_losses(pretraining: Pretraining, start: Path, warn: Callable[[str], None]) -> str:
    """Give the losses the tensors that they have in a run or a checkpoint, by name; in words, how many.

    Raises UserError where `start` has none of them, or of another size.
    """
    folder = checkpoint_of(start, warn)
    own = {name: tensor for name, tensor in pretraining.state_dict().items() if name.startswith(LOSSES)}
    given = {name: tensor for name, tensor in load_file(folder / MODEL).items() if name in own}
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
    if (start / MODEL).is_file():
        return start
    whole = Checkpoints(start, keep=1).newest_whole(warn)
    if whole is not None:
        return whole
    raise UserError(
        f"train.init_losses: {start} has no checkpoint, and only there are decoders and projectors kept",
        "let init name a run of sslcli or one of its checkpoints, or leave train.init_losses out",
    )
