"""A moment of a run: everything that the next step depends on, into a checkpoint and back."""

from typing import TYPE_CHECKING

from sslcli.errors import UserError
from sslcli.training.checkpoint import Saved, model_tensors, optimizer_tensors, restore_model, restore_optimizer
from sslcli.training.metrics import Means

if TYPE_CHECKING:
    from sslcli.training.loop import Loop


def saved(loop: "Loop") -> Saved:
    """The moment at which the loop stands."""
    scaler = loop.accelerator.scaler
    state = {
        "step": loop.step,
        "sentinel_low": loop.sentinel.low,
        "sentinel_out": loop.sentinel.out,
        "means": loop.means.state(),
        "scaler": scaler.state_dict() if scaler is not None else {},
    }
    return Saved(model_tensors(loop.pretraining), optimizer_tensors(loop.plain_optimizer), state)


def restore(loop: "Loop", saved: Saved) -> None:
    """Let the loop stand where the checkpoint stood. Raises UserError when another model was saved."""
    try:
        restore_model(loop.pretraining, saved.model)
        restore_optimizer(loop.plain_optimizer, saved.optimizer)
    except (RuntimeError, KeyError) as misfit:
        raise UserError(
            f"the checkpoint does not fit the model that the recipe builds now: {misfit}",
            "a plugin has changed since the run began; environment.json names the versions that made it",
        ) from misfit
    loop.step = saved.state["step"]
    loop.sentinel.low = saved.state["sentinel_low"]
    loop.sentinel.out = dict(saved.state.get("sentinel_out", {}))
    loop.means = Means(saved.state["means"], loop.accelerator.device)
    if loop.accelerator.scaler is not None and saved.state["scaler"]:
        loop.accelerator.scaler.load_state_dict(saved.state["scaler"])
