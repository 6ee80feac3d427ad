"""Runs whose crops lose their background: what is said of masks, and that a run goes on with those it began with."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.cli import run
from sslcli.testing.pictures import write_masks

LOSS = {"name": "relicv2", "hidden": 16, "output": 8, "negatives": 3}
VIEWS = {"global": {"augmentation": "saliency_crop", "crops": 2, "size": 16, "mask_probability": 0.5}}
KILLER = '''
"""Kills its own process before its seventh step, where it is asked to; it offers a loss so that it is a plugin."""
import os, signal
from sslcli.api import Loss, LossOptions, hookimpl
from sslcli.training.loop import Loop

real = Loop.micro_step

def micro_step(self, *arguments, **named):
    if os.environ.get("KILL") and self.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments, **named)

Loop.micro_step = micro_step

@hookimpl
def sslcli_losses():
    yield Loss("killer", LossOptions, "killer:Killer")
'''


@pytest.fixture
def masks(tmp_path: Path, picture_folder: Path) -> Path:
    return write_masks(tmp_path / "masks", picture_folder)


@pytest.fixture
def recipe(tiny_recipe: Callable[..., Path], masks: Path) -> Path:
    return tiny_recipe(data={"masks": str(masks)}, loss=[LOSS], views=VIEWS)


def files(masks: Path) -> list[Path]:
    return sorted(masks.rglob("*.png"))


def test_it_is_said_how_many_pictures_have_masks_and_the_run_notes_them(recipe, masks, tmp_path, capsys):
    files(masks)[0].unlink()
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run")]) == 0
    assert f"masks: {masks}, for 23 of 24 pictures; the others are shown whole" in capsys.readouterr().err
    assert '"masks"' in (tmp_path / "run" / "environment.json").read_text()


def test_a_broken_mask_is_told_once_and_loses_no_picture(recipe, masks, tmp_path, capsys):
    files(masks)[0].write_bytes(b"cut short")
    epochs = ["--set", "train.epochs=8.0"]
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), *epochs]) == 0
    assert capsys.readouterr().err.count("a picture is shown whole, because its mask cannot be used") == 1


def test_too_many_broken_masks_stop_the_run(recipe, masks, tmp_path, capsys):
    for file in files(masks):
        file.write_bytes(b"cut short")
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--set", "train.epochs=8.0"]) == 1
    said = capsys.readouterr().err
    assert "of 24 masks cannot be used, the last is" in said
    assert "data.broken_limit = 0.01 allows 1; make those masks again or remove them" in said


def test_a_recipe_for_the_demo_pictures_takes_others_with_a_warning(recipe, tmp_path, capsys):
    arguments = ["--output", str(tmp_path / "run"), "--quiet", "--set", "data.masks=demo"]
    assert run(["pretrain", str(recipe), *arguments]) == 0
    assert "warning: masks: demo has none for" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_equal_with_its_masks_and_only_with_them(recipe, masks, tmp_path, bit_equal):
    (tmp_path / "killer.py").write_text(KILLER)

    def start(*arguments: str, kill: str = "") -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sslcli", "pretrain", *arguments, "--plugin", "killer.py"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "KILL": kill}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    settings = ["--set", "train.epochs=4.0", "--set", "checkpoint.every_steps=2"]
    assert start(str(recipe), "--output", "whole", *settings).returncode == 0
    assert start(str(recipe), "--output", "killed", *settings, kill="1").returncode == -signal.SIGKILL
    shutil.copytree(masks, tmp_path / "kept")
    files(masks)[0].unlink()
    refused = start("--resume", "killed")
    assert (refused.returncode, "the masks changed since this run began" in refused.stderr) == (2, True)
    shutil.copytree(tmp_path / "kept", masks, dirs_exist_ok=True)
    resumed = start("--resume", "killed")
    assert resumed.returncode == 0, resumed.stderr
    bit_equal(tmp_path / "whole", tmp_path / "killed")
