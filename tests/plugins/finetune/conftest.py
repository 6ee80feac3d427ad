"""A tiny task: a ViT of width 32, drawn pictures of two classes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sslcli_finetune.evaluations.task import Task

from sslcli.evaluation.trial import Sets, Trial
from sslcli.nn.encoders import TimmNetwork


@pytest.fixture
def network() -> TimmNetwork:
    """A vision transformer of timm with two blocks, for images of 16 pixels."""
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return TimmNetwork.create("vit_tiny_patch16_224", num_classes=0, fc_norm=False, global_pool="token", **sizes)


@pytest.fixture
def trial(tiny_recipe: Callable[..., Path], picture_folder: Path) -> Trial:
    """The tiny backbone of the house at its random start, on the drawn pictures."""
    return Trial(f"random:{tiny_recipe()}", (Sets(str(picture_folder)),), cache=False)


@pytest.fixture
def task(trial: Trial) -> Task:
    """What is learnt there."""
    return Task.of(trial)
