"""The teacher's temperature rises while training; a rise that is longer than the run would never end."""

from sslcli.api import Context, Schedule, Value
from sslcli.errors import UserError


def refuse_endless_rise(name: str, option: str, value: Value, context: Context) -> None:
    """Refuse a schedule whose `epochs` are more than those of the run. Raises UserError."""
    epochs = context.steps / context.steps_per_epoch
    if isinstance(value, Schedule) and value.epochs is not None and value.epochs > epochs:
        raise UserError(
            f"{name}: {option} takes {value.epochs:g} epochs to go from {value.start:g} to {value.end:g}, "
            f"but the run has {epochs:g}",
            f"give {option} fewer epochs, or set train.epochs to {value.epochs:g} or more",
        )
