"""What can go wrong, said so that a person can mend it: a message, a hint, and the exit code that goes with them."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_NAMES = 20  # in a hint
DONE, FAILED, USER_CAN_MEND, COLLAPSED, PREEMPTED, INTERRUPTED = 0, 1, 2, 3, 75, 130


class SslcliError(Exception):
    """An error that is shown as `error: message` and `hint: hint`, without a traceback."""

    exit_code = FAILED
    told = False  # by another process, to the same person

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UserError(SslcliError):
    """Something that the user can mend: a misspelt key, a missing file, an impossible size."""

    exit_code = USER_CAN_MEND


class RunError(SslcliError):
    """A run that could not go on: a full disk, too many broken pictures."""

    exit_code = FAILED


class Unwritable(RunError):
    """The disk does not take a file."""


class Collapse(SslcliError):
    """The sentinel stopped the run: the loss is not finite, or the features have collapsed."""

    exit_code = COLLAPSED


class Interrupted(SslcliError):
    """Ctrl-C, in a command that has nothing to save."""

    exit_code = INTERRUPTED


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`did you mean 'patch_size'?`, or the known names when none is close, as far as a person would read them."""
    names = sorted(filter(None, known))
    close = get_close_matches(wrong, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    listed = names[:MOST_NAMES]
    more = f" and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return f"known: {', '.join(listed)}{more}" if names else ""
