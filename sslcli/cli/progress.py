"""How a run is shown: a bar on a terminal, plain lines when piped, nothing but warnings with --quiet. All on stderr."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sslcli.api import Context
from sslcli.cli.output import talk

SILENCE = 5.0  # seconds between two lines of talk
TOLD_ELSEWHERE = {"health/rankme", "health/alpha_req", "health/uniformity"}  # in the metrics; a line has no room
HIDDEN = {"step", "epoch", "loss", "lr", "weight_decay", "images_per_second"} | TOLD_ELSEWHERE


class Lines:
    """A plain line for a record, at most one every few seconds, and one for every note."""

    def __init__(self, *, quiet: bool = False, seconds: float = 5.0) -> None:
        self.quiet = quiet
        self.seconds = seconds
        self.told = 0.0
        self.last: dict[str, Any] = {}

    def record(self, record: Mapping[str, Any], context: Context) -> None:
        """A line of metrics."""
        self.last |= record
        due = time.monotonic() - self.told >= self.seconds or record["step"] == context.steps or "loss" not in record
        if not self.quiet and due:
            talk(f"step {record['step']}/{context.steps}  {summary(record, context)}")
            self.told = time.monotonic()

    def note(self, text: str) -> None:
        """Something to read; warnings are told even when quiet."""
        if not self.quiet or text.startswith("warning"):
            talk(text)

    def close(self) -> None:
        """Nothing to put away."""


class Bar(Lines):
    """A progress bar with the latest numbers beside it; notes scroll above."""

    def __init__(self) -> None:
        super().__init__()
        self.bar = Progress(
            BarColumn(bar_width=10),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
        )
        self.task: Any = None

    def record(self, record: Mapping[str, Any], context: Context) -> None:
        """Move the bar; a record without a loss (a probe) is told as a line."""
        self.last |= record
        if self.task is None:
            self.task = self.bar.add_task(f"0/{context.steps}", total=context.steps)
            self.bar.start()
        text = summary(record, context)
        if "loss" in record:
            self.bar.update(
                self.task, completed=record["step"], description=f"{record['step']}/{context.steps}  {text}"
            )
        else:
            self.note(f"step {record['step']}/{context.steps}  {text}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        self.bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.stop()


class Standing:
    """A bar on a terminal, and else a line now and then: `with Standing(total) as show: show(done, "3 of 9 masks")`."""

    def __init__(self, total: int) -> None:
        self.total, self.spoken = total, time.monotonic()
        self.bar: Progress | None = None

    def __enter__(self) -> Callable[[int, str], None]:
        if not sys.stderr.isatty():
            return self.speak
        self.bar = Progress(
            BarColumn(bar_width=20), TextColumn("{task.description}", markup=False), console=Console(stderr=True)
        )
        self.bar.start()
        self.task = self.bar.add_task("", total=self.total)
        return self.move

    def __exit__(self, *failure: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def move(self, done: int, line: str) -> None:
        """Move the bar."""
        assert self.bar is not None
        self.bar.update(self.task, completed=done, description=line)

    def speak(self, done: int, line: str) -> None:
        """A line, if the last one was a while ago."""
        if time.monotonic() - self.spoken >= SILENCE:
            self.spoken = time.monotonic()
            talk(line)


def reporter(*, quiet: bool) -> Lines:
    """Who tells of the run: a bar for a person at a terminal, lines for everything else."""
    return Bar() if sys.stderr.isatty() and not quiet else Lines(quiet=quiet)


def summary(record: Mapping[str, Any], context: Context) -> str:
    """Epoch, losses, rate, speed and what is left, in one line."""
    parts = [f"epoch {record['epoch']:.2f}"]
    if "images_per_second" in record:
        speed = record["images_per_second"]
        left = (context.steps - record["step"]) * context.batch_size / max(speed, 1e-9)
        parts += [f"{duration(left)} left", f"{speed:.0f} images/s"]
    parts += [f"loss {record['loss']:.4f}"] if "loss" in record else []
    parts += [f"{name} {value:.4f}" for name, value in record.items() if name not in HIDDEN]
    parts += [f"lr {record['lr']:.2e}"] if "lr" in record else []
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
