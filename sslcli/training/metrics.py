"""What a run tells while it trains: means since the last line, into `metrics.jsonl` and to whoever listens."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sslcli.disk import write_whole
from sslcli.errors import RunError
from sslcli.nn import all_mean


class Means:
    """Running means of tensors by name, kept on the device so that no step waits for a number."""

    def __init__(
        self, state: Mapping[str, tuple[float, int]] | None = None, device: torch.device | None = None
    ) -> None:
        state = state or {}
        self.sums = {name: torch.tensor(total, device=device) for name, (total, _) in state.items()}
        self.counts = {name: count for name, (_, count) in state.items()}

    def state(self) -> dict[str, tuple[float, int]]:
        """What a checkpoint keeps, so that a resumed run writes the same lines."""
        return {name: (float(total), self.counts[name]) for name, total in self.sums.items()}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """One more value of each name."""
        for name, value in values.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, float]:
        """The means over this process's steps and over all processes; starts anew."""
        if not self.sums:
            return {}
        names = sorted(self.sums)
        means = all_mean(torch.stack([self.sums[name] / self.counts[name] for name in names]))
        self.sums, self.counts = {}, {}
        return dict(zip(names, means.tolist(), strict=True))


class MetricsFile:
    """`metrics.jsonl`: one JSON object a line, each with its `step`, written whole and at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line. Raises RunError when the disk will not take it."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as failure:
            raise RunError(
                f"cannot write {self.path}: {failure}",
                f"make room, then go on with: sslcli pretrain --resume {self.path.parent}",
            ) from failure

    def cut_after(self, step: int) -> None:
        """Forget lines of steps after `step`, and a line that was cut off: a resumed run writes them again."""
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text().splitlines() if step_of(line) <= step]
        write_whole(self.path, lambda path: path.write_text("".join(f"{line}\n" for line in kept)))


def step_of(line: str) -> float:
    """The step of a line; infinity when the line is broken."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
