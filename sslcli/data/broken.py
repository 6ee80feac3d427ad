"""What to do about pictures that cannot be read: warn once, and stop when there are too many."""

from collections.abc import Callable, Iterable
from typing import Literal

from sslcli.errors import RunError


class BrokenCount:
    """Counts the different broken pictures that one process has met.

    At most `limit`, a share of the set, may be broken; one picture is always allowed, unless the limit is 0, so that a
    small set does not stop at its first. With `policy="stop"` the first one stops the run. `knob` is what the user
    turns to change the limit.
    """

    many = "pictures cannot be read"
    told = "skipped a picture that cannot be read"
    mend = "remove the broken pictures, or raise the limit"

    def __init__(
        self,
        samples: int,
        *,
        limit: float,
        warn: Callable[[str], None],
        policy: Literal["skip", "stop"] = "skip",
        knob: str = "data.broken_limit",
    ) -> None:
        self.samples = samples
        self.allowed = max(int(limit * samples), 1) if limit else 0
        self.limit, self.knob = limit, knob
        self.policy = policy
        self.warn = warn
        self.paths: set[str] = set()

    def add(self, broken: Iterable[tuple[str, str]]) -> None:
        """Take up what a batch reports, as (path, reason). Raises RunError when the run should stop."""
        for path, reason in broken:
            if path not in self.paths:
                self.paths.add(path)
                self.judge(path, reason)

    def judge(self, path: str, reason: str) -> None:
        """Warn of a picture that is met for the first time, or stop."""
        if self.policy == "stop":
            raise RunError(f"cannot read {path}: {reason}", 'mend or remove it, or set data.broken = "skip"')
        if len(self.paths) > self.allowed:
            message = f"{len(self.paths)} of {self.samples} {self.many}, the last is {path}: {reason}"
            limit = f"{self.knob} = {self.limit:g} allows {self.allowed}"
            raise RunError(message, f"{limit}; {self.mend}")
        self.warn(f"{self.told}: {path}: {reason}")


class BrokenMaskCount(BrokenCount):
    """The same for masks that cannot be used: their pictures are shown whole."""

    many = "masks cannot be used"
    told = "a picture is shown whole, because its mask cannot be used"
    mend = "make those masks again or remove them, or raise the limit"
