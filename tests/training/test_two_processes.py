"""One process with a batch of 2N and two with N each train the same model."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LOSSES = {
    "mae": {"name": "mae", "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
    "moco_v3": {"name": "moco_v3", "hidden": 32, "output": 16},
    "mugs.group": {"name": "mugs.group", "prototypes": 16, "hidden": 32, "bottleneck": 8},
    "mugs.instance": {"name": "mugs.instance", "hidden": 32, "output": 8, "predictor_hidden": 16},
    "mugs.local_group": {
        "name": "mugs.local_group",
        "hidden": 32,
        "output": 8,
        "predictor_hidden": 16,
        "neighbours": 2,
    },
    "simclr": {"name": "simclr"},
}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mae", "moco_v3", "mugs.local_group", "simclr"])
def test_two_processes_train_what_one_trains(
    tmp_path: Path,
    tiny_recipe: Callable[..., Path],
    run_sslcli: Callable[..., Any],
    loss: str,
    nearly_equal: Callable[..., None],
) -> None:
    recipe = tiny_recipe(loss=[LOSSES[loss]], backbone={"patch_size": 4}, optimizer={"name": "sgd", "lr": 0.05})
    for name, processes in (("one", 1), ("two", 2)):  # two steps: rounding may make a ReLU of a later one flip
        done = run_sslcli("pretrain", recipe, "--output", name, "--processes", processes)
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    nearly_equal(tmp_path / "one", tmp_path / "two", atol=2e-5)


MUGS = {  # with crops of the teacher's own, small crops, and a memory that keeps some of its rows only
    "views": {
        "teacher": {"augmentation": "multicrop", "crops": 2, "size": 16},
        "global": {"augmentation": "weak_strong", "coin": "sample", "column": "weak", "crops": 2, "size": 16},
        "local": {"augmentation": "multicrop", "crops": 2, "size": 8},
    },
    "loss": [
        {**LOSSES[name], "teacher_views": "teacher", "local_views": "local", **more}
        for name, more in (
            ("mugs.instance", {}),
            ("mugs.local_group", {"memory_column": "weak"}),
            ("mugs.group", {}),
        )
    ],
    "train": {"total": "mean"},
}


@pytest.mark.slow
def test_two_processes_train_all_of_mugs_as_one_does(
    tmp_path: Path, tiny_recipe: Callable[..., Path], run_sslcli: Callable[..., Any], nearly_equal: Callable[..., None]
) -> None:
    recipe = tiny_recipe(**MUGS, optimizer={"name": "sgd", "lr": 0.05})
    for name, processes in (("one", 1), ("two", 2)):
        done = run_sslcli("pretrain", recipe, "--output", name, "--processes", processes)
        assert (done.returncode, done.stdout) == (0, f"{name}\n"), done.stderr
    nearly_equal(tmp_path / "one", tmp_path / "two", atol=2e-5)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_with_one(
    tmp_path: Path, tiny_recipe: Callable[..., Path], run_sslcli: Callable[..., Any], nearly_equal: Callable[..., None]
) -> None:
    tables = {"optimizer": {"name": "sgd", "lr": 0.05}, "checkpoint": {"every_steps": 3, "keep": 9}}
    recipe = tiny_recipe(loss=[LOSSES["mae"]], backbone={"patch_size": 4}, train={"epochs": 2.0}, **tables)
    assert run_sslcli("pretrain", recipe, "--output", "two", "--processes", 2).returncode == 0
    assert run_sslcli("pretrain", recipe, "--output", "one").returncode == 0
    for path in (tmp_path / "two" / "checkpoints").glob("step-00000006/*"):
        path.unlink()  # the last checkpoint is lost, the one of step 3 is there
    done = run_sslcli("pretrain", "--resume", "two")
    assert done.returncode == 0, done.stderr
    assert "skipping the damaged checkpoint" in done.stderr
    assert "going on from step 3 of 6" in done.stderr
    nearly_equal(tmp_path / "one", tmp_path / "two", atol=2e-5)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others(
    tmp_path: Path, tiny_recipe: Callable[..., Path], run_sslcli: Callable[..., Any]
) -> None:
    (tmp_path / "dying.py").write_text(
        "import os\n"
        "from sslcli.api import Loss, LossOptions, hookimpl\n"
        "import torch\n"
        "class Dying(torch.nn.Module):\n"
        "    def __init__(self, options, context): super().__init__()\n"
        "    def forward(self, step):\n"
        "        os.environ['RANK'] == '1' and os._exit(9)\n"
        "        return step.student('global').pooled.mean()\n"
        "@hookimpl\n"
        "def sslcli_losses(): yield Loss('dying', LossOptions, 'dying:Dying')\n"
    )
    recipe = tiny_recipe(loss=[{"name": "dying"}])
    done = run_sslcli("pretrain", recipe, "--plugin", tmp_path / "dying.py", "--processes", 2, timeout=120)
    assert done.returncode != 0


TOGETHER = """
import sys
from accelerate import Accelerator
from sslcli.errors import UserError
from sslcli.training.processes import on_main

accelerator = Accelerator(cpu=True)
assert on_main(accelerator, lambda: 7) == (7 if accelerator.is_main_process else None)

def wrong():
    raise UserError("taken", "choose another")

try:
    on_main(accelerator, wrong)
except UserError as error:
    assert (error.message, error.hint) == ("taken", "choose another")
    accelerator.end_training()
    sys.exit(0)
"""


@pytest.mark.slow
def test_all_processes_fail_when_the_main_one_does(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(TOGETHER)
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", str(tmp_path / "together.py")]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_refuse_a_folder_that_is_taken_at_once(
    tmp_path: Path, tiny_recipe: Callable[..., Path], run_sslcli: Callable[..., Any]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("")
    began = time.monotonic()
    done = run_sslcli("pretrain", tiny_recipe(), "--output", "taken", "--processes", 2, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("taken is already there") == 1
    assert time.monotonic() - began < 30  # nobody waited for the launcher's patience to end


@pytest.mark.slow
def test_two_processes_refuse_parameters_that_no_loss_reaches(
    tmp_path: Path, tiny_recipe: Callable[..., Path], run_sslcli: Callable[..., Any]
) -> None:
    (tmp_path / "half.py").write_text(
        "from sslcli.api import Loss, LossOptions, hookimpl\n"
        "import torch\n"
        "class Half(torch.nn.Module):\n"
        "    def __init__(self, options, context): super().__init__()\n"
        "    def forward(self, step): return step.student('global').tokens.square().mean()\n"
        "@hookimpl\n"
        "def sslcli_losses(): yield Loss('half', LossOptions, 'half:Half')\n"
    )
    arguments = ["pretrain", tiny_recipe(loss=[{"name": "half"}]), "--plugin", tmp_path / "half.py", "--processes", 2]
    done = run_sslcli(*arguments, timeout=120)
    assert done.returncode == 2
    assert "no loss gives a gradient to backbone.model.norm.weight" in done.stderr
    frozen = "optimizer.freeze=[{parameters = ['backbone.model.norm.*']}]"
    assert run_sslcli(*arguments, "--set", frozen, timeout=120).returncode == 0
