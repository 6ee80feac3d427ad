"""What a loss sees of a training step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from sslcli.api import Progress
from sslcli.errors import UserError, did_you_mean
from sslcli.nn.backbone import Backbone
from sslcli.nn.features import Features
from sslcli.nn.random import sample_uniform

T = TypeVar("T")


@dataclass(frozen=True)
class Limit:
    """What a number of a healthy run keeps to, and what is wrong, in words, when it does not."""

    complaint: str  # such as "all pictures fall on one prototype"
    least: float = -math.inf
    most: float = math.inf
    hint: str = ""  # what to change
    stops: bool = True  # the run, when it stays out of the limit; otherwise the sentinel only warns

    def holds(self, value: float) -> bool:
        """Whether a number is within the limit; one that is not finite is not."""
        return math.isfinite(value) and self.least <= value <= self.most


@dataclass
class Step:
    """One forward of one process: images and features of its slice of the batch, computed once, shared by all losses.

    A view is named as in `Reads`: `"global"` gives leading axes `[crops, B]`, `"global:0"` gives `[B]`.
    """

    backbone: Backbone  # the student's, for a loss that needs a forward of its own
    teacher_backbone: Backbone  # its moving average; the same one where no loss reads a teacher
    progress: Progress
    seed: int
    columns: Mapping[str, Tensor]  # facts of each sample, [B]: "index", "epoch" and what augmentations add
    views: Mapping[str, Tensor]  # [crops, B, 3, H, W]
    plans: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    encode_student: Callable[[str], Features] = field(repr=False, kw_only=True)
    encode_teacher: Callable[[str], Features] = field(repr=False, kw_only=True)
    logs: dict[str, Tensor] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)  # of what was logged, for the sentinel
    scope: str = ""  # the loss at work: its name goes before what it logs
    shared: dict[str, Any] = field(default_factory=dict, repr=False)

    def images(self, view: str) -> Tensor:
        """Normalised images of a group `[crops, B, 3, H, W]`, or of one crop `[B, 3, H, W]`."""
        group, _, crop = view.partition(":")
        return self.views[group][int(crop)] if crop else self.views[group]

    def student(self, view: str) -> Features:
        """The student's features of a view that the loss reads."""
        return self.encode_student(view)

    def teacher(self, view: str) -> Features:
        """The teacher's features of a view that the loss reads, without gradient."""
        return self.encode_teacher(view)

    def column(self, name: str) -> Tensor:
        """A fact of each sample, `[B]`. Raises UserError when no augmentation gives it."""
        if name not in self.columns:
            raise UserError(
                f"no column is called {name!r}; there are {', '.join(self.columns)}",
                did_you_mean(name, self.columns),
            )
        return self.columns[name]

    def facts_of(self, view: str) -> dict[str, Tensor]:
        """Every column, for a forward of a loss's own on the images of a view, crop after crop: `[crops * B]`.

        Nothing where an image is mixed of several samples.
        """
        *crops, images = self.images(view).shape[:-3]
        whole = images == len(self.columns["index"])
        return {name: column.repeat(*crops or [1]) for name, column in self.columns.items()} if whole else {}

    def plan(self, view: str) -> Mapping[str, Tensor]:
        """How a mixed group was made."""
        return self.plans[view]

    def uniform(self, key: str, *shape: int) -> Tensor:
        """Random numbers in [0, 1), `[B, *shape]`, fixed by seed, epoch, sample and `key`.

        They are the same whatever the number of processes, and after a resume.
        """
        return sample_uniform(self.seed, self.columns["epoch"], self.columns["index"], key, shape)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made once a step: for losses of one plugin that share a forward."""
        if key not in self.shared:
            self.shared[key] = make()
        result: T = self.shared[key]
        return result

    def log(self, name: str, value: Tensor, limit: Limit | None = None) -> None:
        """Note a number, to be averaged over processes and written to the metrics as `<loss>/<name>`.

        With a `limit` the sentinel watches it: it warns when the number is out of it, and stops the run if it stays so.
        """
        key = f"{self.scope}/{name}" if self.scope else name
        self.logs[key] = value.detach()
        if limit is not None:
            self.limits[key] = limit
