"""Mixings that join several samples into one image: what reaches losses, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslcli.cli import run

PAIRS = '''
"""Every two pictures become their mean; a loss that compares the mean's features with the pictures' own."""
import torch
from sslcli.api import Augmentation, Loss, LossOptions, MixOptions, Reads, hookimpl
from sslcli.data.augmentation import MixAugmentation

class PairOptions(MixOptions):
    forget: bool = False

    def joined(self):
        return 2

class Pairs(MixAugmentation):
    def __init__(self, options, context):
        assert (context.patch_size, context.width) == (8, 32)  # the backbone is told to mixings
        self.forget = options.forget

    def mix(self, images, uniform):
        mean = (images[:, ::2] + images[:, 1::2]) / 2
        return images if self.forget else mean, {"share": torch.full((len(images),), 0.5)}

class BesideOptions(LossOptions):
    def reads(self):
        return Reads(student=("global", "mixed"), teacher=("mixed:0",), plans=("mixed",))

class Beside(torch.nn.Module):
    def __init__(self, options, context):
        super().__init__()
        assert (context.views["mixed"].joined, context.views["global"].joined) == (2, 1)

    def forward(self, step):
        whole, mixed = step.student("global").pooled, step.student("mixed").pooled
        expected = step.backbone.features(step.images("mixed").flatten(0, 1)).pooled.view_as(mixed)
        assert torch.allclose(mixed, expected, atol=1e-5)
        assert step.teacher("mixed:0").pooled.shape == mixed[0].shape
        step.log("images", torch.tensor(float(mixed.shape[1])))
        share = step.plan("mixed")["share"][0]
        return (mixed - share * (whole[:, ::2] + whole[:, 1::2])).square().mean()

@hookimpl
def sslcli_augmentations():
    yield Augmentation("pairs", PairOptions, "pairs:Pairs", mixes=True)

@hookimpl
def sslcli_losses():
    yield Loss("beside", BesideOptions, "pairs:Beside")
'''


@pytest.fixture
def train(tmp_path: Path, tiny_recipe: Callable[..., Path], fresh_registry: None) -> Callable[..., Path]:
    """`train()`: the folder of a run with the plugin above."""
    (tmp_path / "pairs.py").write_text(PAIRS)

    def call(code: int = 0, mixed: dict[str, Any] | None = None, **tables: Any) -> Path:
        views = {"mixed": {"augmentation": "pairs", "source": "global", **(mixed or {})}}
        recipe = tiny_recipe(views=views, loss=[{"name": "beside"}], **tables)
        plugin = ["--plugin", str(tmp_path / "pairs.py"), "--output", str(tmp_path / "run")]
        assert run(["pretrain", str(recipe), *plugin]) == code
        return tmp_path / "run"

    return call


@pytest.mark.parametrize("packing", ["off", "on"])
def test_losses_read_fewer_mixed_images_than_whole_ones(train: Callable[..., Path], packing: str) -> None:
    told = (train(train={"packing": packing}) / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["beside/images"] for line in told] == [4.0, 4.0]  # of eight


def test_a_micro_batch_that_splits_a_group_is_refused(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train(code=2, train={"batch_size": 6, "accumulation": 2})
    told = capsys.readouterr().err
    assert "views.mixed mixes 2 samples into one image, and a process computes 3 at a time" in told
    assert "let train.batch_size be a multiple of 4" in told


def test_a_mixing_that_joins_nothing_though_it_says_so_is_told(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train(code=2, mixed={"forget": True})
    assert "must return (2, 4): it joins 2" in capsys.readouterr().err
