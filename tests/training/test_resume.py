"""A run that is killed, at any moment, ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

EPOCHS = 4  # of 3 steps of 8 pictures
KILLER = '''
"""Kills its own process at the moment that KILL_AT names; it offers a loss so that it is a plugin."""
import os, signal
from sslcli.api import Loss, LossOptions, hookimpl
from sslcli.training import checkpoint, export, loop

moment, _, wanted = os.environ.get("KILL_AT", "").partition(":")

def die_before(place, name, count=[0]):
    real = getattr(place, name)
    def wrapped(*arguments, **named):
        count[0] += 1
        if count[0] == int(wanted):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    setattr(place, name, wrapped)

PLACES = {
    "forward": (loop.Loop, "micro_step"),
    "optimizer": (loop.Loop, "update_teacher"),
    "write": (checkpoint, "save_file"),
    "sync": (checkpoint, "settle"),
    "rename": (checkpoint.os, "rename"),
    "prune": (checkpoint.shutil, "rmtree"),
    "metrics": (loop.MetricsFile, "write"),
    "export": (export, "save_backbone"),
}
if moment:
    die_before(*PLACES[moment])

@hookimpl
def sslcli_losses():
    yield Loss("killer", LossOptions, "killer:Killer")
'''


@pytest.fixture
def recipe(tmp_path: Path, tiny_recipe: Callable[..., Path]) -> Path:
    """MoCo v3 with dropped paths, a checkpoint every second step, and the killer at hand."""
    (tmp_path / "killer.py").write_text(KILLER)
    path = tiny_recipe(
        loss=[{"name": "moco_v3", "hidden": 32, "output": 16}],
        backbone={"drop_path": 0.2},
        train={"epochs": float(EPOCHS), "log_every_steps": 3},
        checkpoint={"every_steps": 2},
        sentinel={"every_steps": 5},
    )
    path.write_text('plugins = ["killer.py"]\n' + path.read_text())
    return path


def start(folder: Path, *arguments: str, kill_at: str = "") -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "KILL_AT": kill_at, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sslcli", "pretrain", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def metrics(run: Path) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name != "images_per_second"} for record in records]


@pytest.mark.slow
def test_a_run_killed_at_every_kind_of_moment_ends_bit_equal(
    tmp_path: Path, recipe: Path, bit_equal: Callable[..., None]
) -> None:
    moments = [
        "forward:2",
        "write:1",
        "sync:3",
        "rename:1",
        "optimizer:3",
        "metrics:1",
        "prune:2",
        "sync:9",
        "export:1",
    ]
    assert start(tmp_path, str(recipe), "--output", "whole").returncode == 0
    first = start(tmp_path, str(recipe), "--output", "killed", kill_at="forward:1")
    assert first.returncode == -signal.SIGKILL
    for moment in moments:
        ended = start(tmp_path, "--resume", "killed", kill_at=moment)
        assert ended.returncode == -signal.SIGKILL, f"{moment}: {ended.stderr}"
    last = start(tmp_path, "--resume", "killed")
    assert last.returncode == 0, last.stderr
    bit_equal(tmp_path / "whole", tmp_path / "killed")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_run_goes_on_bit_equal(
    tmp_path: Path, recipe: Path, bit_equal: Callable[..., None], number: int, expected: int
) -> None:
    command = [
        sys.executable,
        "-m",
        "sslcli",
        "pretrain",
        str(recipe),
        "--output",
        "stopped",
        "--set",
        "train.epochs=40",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in `start`: sums depend on the number of threads
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "stopped" / "metrics.jsonl", child)
    child.send_signal(number)
    _, talk = child.communicate(timeout=120)
    assert child.returncode == expected, talk
    assert "hint: go on with: sslcli pretrain --resume" in talk
    assert start(tmp_path, "--resume", "stopped").returncode == 0
    assert start(tmp_path, str(recipe), "--output", "whole", "--set", "train.epochs=40").returncode == 0
    bit_equal(tmp_path / "stopped", tmp_path / "whole")


def wait_for(path: Path, child: "subprocess.Popen[str]") -> None:
    """Until the run has written its first metrics."""
    deadline = time.monotonic() + 120
    while not path.exists() or not path.stat().st_size:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, recipe: Path) -> None:
    assert start(tmp_path, str(recipe), "--output", "run").returncode == 0
    before = load_file(tmp_path / "run" / "backbone.safetensors")
    again = start(tmp_path, "--resume", "run")
    assert (again.returncode, again.stdout) == (0, "run\n")
    after = load_file(tmp_path / "run" / "backbone.safetensors")
    assert all(before[name].equal(after[name]) for name in before)
