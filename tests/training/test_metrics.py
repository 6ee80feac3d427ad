"""Metrics are means over the steps since the last line, and survive a cut."""

import json
from pathlib import Path

import pytest
import torch

from sslcli.errors import RunError
from sslcli.training.metrics import Means, MetricsFile


def test_means_are_over_the_values_since_the_last_time() -> None:
    means = Means()
    means.add({"loss": torch.tensor(1.0), "rare": torch.tensor(5.0)})
    means.add({"loss": torch.tensor(3.0)})
    assert means.take() == {"loss": 2.0, "rare": 5.0}
    assert means.take() == {}


def test_means_go_on_exactly_from_a_saved_state() -> None:
    whole, first = Means(), Means()
    for number in (0.1, 0.2, 0.7):
        whole.add({"loss": torch.tensor(number)})
    for number in (0.1, 0.2):
        first.add({"loss": torch.tensor(number)})
    second = Means(json.loads(json.dumps(first.state())), torch.device("cpu"))
    second.add({"loss": torch.tensor(0.7)})
    assert second.take() == whole.take()


def test_lines_after_the_checkpoint_and_broken_ones_are_cut(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        file.write({"step": step})
    with file.path.open("a") as raw:
        raw.write('{"step": 4')
    file.cut_after(20)
    assert [json.loads(line)["step"] for line in file.path.read_text().splitlines()] == [10, 20]


def test_a_full_disk_is_told_with_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left on device") as caught:
        MetricsFile(tmp_path / "metrics.jsonl").write({"step": 1})
    assert f"--resume {tmp_path}" in caught.value.hint
