"""Parts that strangers bring, put together in one recipe: mixed views, routings, a teacher that is handed over."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sslcli.cli import run

STRANGERS = '''
"""Mixes each picture with the next one of the batch, and a loss that reads what was done; a routing by token."""
import torch
from sslcli.api import Augmentation, Loss, LossOptions, MixOptions, Reads, Routing, RoutingOptions, hookimpl
from sslcli.data.augmentation import MixAugmentation
from sslcli.nn.experts import Route

class Halves(MixAugmentation):
    def __init__(self, options, context):
        self.shape = context.views[options.source]

    def mix(self, images, uniform):
        assert images.shape[0] == self.shape.crops
        order = uniform("order").argsort()
        mixed = images.clone()
        mixed[..., images.shape[-1] // 2:] = images[:, order][..., images.shape[-1] // 2:]
        return mixed, {"order": order}

class Loses(Halves):
    def mix(self, images, uniform):
        mixed, plan = super().mix(images, uniform)
        return mixed[:1], plan

class ReadOptions(LossOptions):
    def reads(self):
        return Reads(student=("mixed:0",), teacher=("global:1",), images=("mixed",))

class ReadsPlan(torch.nn.Module):
    def __init__(self, options, context):
        super().__init__()
        assert context.views["mixed"] == context.views["global"]

    def forward(self, step):
        order, half = step.plan("mixed")["order"], step.images("mixed").shape[-1] // 2
        left, right = step.images("mixed")[..., :half], step.images("mixed")[..., half:]
        assert left.equal(step.images("global")[..., :half])
        assert right.equal(step.images("global")[:, order][..., half:])
        theirs = step.teacher("global:1").pooled
        assert not theirs.requires_grad
        step.log("first", order[0].float())
        return (step.student("mixed:0").pooled - (theirs + theirs[order]) / 2).square().mean()

class ByToken(torch.nn.Module):
    def __init__(self, options, context):
        super().__init__()
        self.gate = torch.nn.Linear(context.width, options.experts, bias=False)

    def forward(self, tokens, columns):
        assert columns["index"].shape == tokens.shape[:1]
        shares = self.gate(tokens).float().softmax(-1)
        best = torch.nn.functional.one_hot(shares.argmax(-1), shares.shape[-1])
        return Route(shares * best, {"balance": shares.mean((0, 1)).square().sum()})

@hookimpl
def sslcli_augmentations():
    yield Augmentation("halves", MixOptions, "strangers:Halves", mixes=True)
    yield Augmentation("loses", MixOptions, "strangers:Loses", mixes=True)

@hookimpl
def sslcli_losses():
    yield Loss("plan", ReadOptions, "strangers:ReadsPlan")

@hookimpl
def sslcli_routings():
    yield Routing("by_token", RoutingOptions, "strangers:ByToken")
'''
MIXED = {"mixed": {"augmentation": "halves", "source": "global"}}
ROUTING = {"name": "by_token", "experts": 3, "blocks": [0, 1]}


@pytest.fixture
def train(tmp_path: Path, tiny_recipe: Callable[..., Path], fresh_registry: None) -> Callable[..., Path]:
    """`train("run", loss=[…])`: the folder of a run with the plugin above."""
    (tmp_path / "strangers.py").write_text(STRANGERS)

    def call(name: str, *, code: int = 0, **tables: Any) -> Path:
        plugin = ["--plugin", str(tmp_path / "strangers.py")]
        assert run(["pretrain", str(tiny_recipe(**tables)), "--output", str(tmp_path / name), *plugin]) == code
        return tmp_path / name

    return call


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_mixed_group_reaches_a_loss_with_its_plan(train: Callable[..., Path]) -> None:
    told = lines(train("run", views=MIXED, loss=[{"name": "plan"}], train={"epochs": 2.0}))
    assert len({line["plan/first"] for line in told}) > 1  # another order at every step


def test_a_mixing_that_loses_crops_is_told_so(train: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    train("run", views={"mixed": {"augmentation": "loses", "source": "global"}}, loss=[{"name": "plan"}], code=2)
    assert "views.mixed is mixed to (1, 8) crops and samples from (2, 8)" in capsys.readouterr().err


def test_mixing_does_not_depend_on_what_was_drawn_before(
    train: Callable[..., Path], bit_equal: Callable[..., None]
) -> None:
    tables: dict[str, Any] = {"views": MIXED, "train": {"epochs": 2.0}, "checkpoint": {"every_steps": 3}}
    losses = [{"name": "plan"}, {"name": "simclr"}]
    whole, parts = train("whole", loss=losses, **tables), train("parts", loss=losses, **tables)
    for file in (parts / "checkpoints" / "step-00000006").iterdir():
        file.unlink()
    assert run(["pretrain", "--resume", str(parts)]) == 0
    bit_equal(whole, parts)


MUGS: list[dict[str, Any]] = [
    {"name": "mugs.instance", "hidden": 16, "output": 8, "predictor_hidden": 16},
    {"name": "mugs.local_group", "hidden": 16, "output": 8, "predictor_hidden": 16, "memory_column": "weak"},
    {"name": "mugs.group", "prototypes": 16, "hidden": 16, "bottleneck": 8},
]
CROPS: dict[str, Any] = {
    "global": {"augmentation": "weak_strong", "coin": "sample", "column": "weak", "crops": 2, "size": 16},
    "teacher": {"augmentation": "multicrop", "crops": 2, "size": 16},
    "local": {"augmentation": "multicrop", "crops": 3, "size": 8},
}


def mugs(**changes: Any) -> dict[str, Any]:
    """Tables of a recipe with the three losses of Mugs on all its crops."""
    losses = [{**loss, "teacher_views": "teacher", "local_views": "local"} for loss in MUGS]
    return {"views": CROPS, "loss": losses, "teacher": {"export": True}, "backbone": {"drop_path": 0.1}, **changes}


def test_queues_memories_and_centre_resume_to_the_bit(
    train: Callable[..., Path], bit_equal: Callable[..., None]
) -> None:
    tables = mugs(train={"epochs": 3.0}, checkpoint={"every_steps": 4, "keep": 9})
    whole, parts = train("whole", **tables), train("parts", **tables)
    for file in (parts / "checkpoints" / "step-00000009").iterdir():
        file.unlink()
    assert run(["pretrain", "--resume", str(parts)]) == 0
    bit_equal(whole, parts)


def test_the_total_may_be_the_weighted_mean_of_the_losses(train: Callable[..., Path]) -> None:
    tables = mugs(train={"total": "mean"})
    tables["loss"][1] = {**tables["loss"][1], "weight": 0.5}
    for told in lines(train("run", **tables)):
        parts = told["mugs_instance"] + 0.5 * told["mugs_local_group"] + told["mugs_group"]
        assert told["loss"] == pytest.approx(parts / 2.5, rel=1e-6)


def test_legacy_losses_are_not_multiplied_by_their_weights(train: Callable[..., Path]) -> None:
    tables = mugs(train={"total": "mean"})
    tables["loss"] = [
        {**loss, "legacy": True, "weight": 0.5 if n == 1 else 1.0} for n, loss in enumerate(tables["loss"])
    ]
    for told in lines(train("run", **tables)):
        raw = (
            told["mugs_instance"] + 0.5 * told["mugs_local_group"] + told["mugs_group"]
        )  # each is logged by its weight
        assert told["loss"] == pytest.approx(raw / 2.5, rel=1e-6)


def test_a_legacy_loss_undoes_its_weight(train: Callable[..., Path]) -> None:
    first = []
    for name, legacy in (("plain", False), ("legacy", True)):
        tables = mugs(train={"total": "mean"})
        tables["loss"][1] = {**tables["loss"][1], "legacy": legacy, "weight": 0.5}
        first.append(lines(train(name, **tables))[0])
    plain, legacy = first
    assert legacy["mugs_local_group"] == pytest.approx(2 * plain["mugs_local_group"], rel=1e-6)
    assert legacy["loss"] - plain["loss"] == pytest.approx(0.5 * plain["mugs_local_group"] / 2.5, rel=1e-4)


def test_a_loss_of_no_weight_is_left_out(train: Callable[..., Path]) -> None:
    losses = [{"name": "simclr"}, {"name": "mugs.group", "weight": 0.0}]
    folder = train("run", loss=losses)
    assert "mugs_group" not in lines(folder)[-1]
    assert not any("mugs" in name for name in load_file(folder / "checkpoints/step-00000002/model.safetensors"))


def test_a_recipe_whose_losses_all_weigh_nothing_is_refused(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train("run", code=2, loss=[{"name": "simclr", "weight": 0.0}])
    assert "loss.0.weight is 0, as is that of every loss" in capsys.readouterr().err


def test_local_groups_and_masked_pictures_learn_one_backbone(train: Callable[..., Path]) -> None:
    small = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    told = lines(train("run", loss=[MUGS[1] | {"memory_column": ""}, {"name": "mae", **small}]))[-1]
    assert told["loss"] == pytest.approx(told["mugs_local_group"] + told["mae"], rel=1e-5)


def test_a_routing_learns_and_its_losses_are_logged_and_minimised(train: Callable[..., Path]) -> None:
    slow = {"lr": 1e-3, "weight_decay": 0.0}
    folder = train("run", loss=[{"name": "simclr", "weight": 1e-12}], routing=ROUTING, optimizer=slow)
    told = lines(folder)[-1]
    assert told["loss"] == pytest.approx(2 * told["routing/balance"])  # two layers, nothing else weighs
    checkpoints = sorted((folder / "checkpoints").glob("step-*"))
    gates = [
        tensor
        for name, tensor in load_file(checkpoints[-1] / "model.safetensors").items()
        if name.endswith("gate.weight")
    ]
    assert len(gates) == 2
    assert not torch.allclose(gates[0], gates[1], atol=0.05)  # each layer has a start of its own


def test_the_teacher_is_handed_over_when_the_recipe_says_so(train: Callable[..., Path]) -> None:
    folder = train("run", loss=[{"name": "moco_v3", "hidden": 8, "output": 4}], teacher={"export": True})
    trained = load_file(max((folder / "checkpoints").glob("step-*")) / "model.safetensors")
    saved = load_file(folder / "backbone.safetensors")
    assert all(trained[f"backbone.target.model.{name}"].equal(tensor) for name, tensor in saved.items())
    assert not trained["backbone.online.model.norm.weight"].equal(saved["norm.weight"])


def test_a_teacher_that_no_loss_reads_is_not_handed_over_with_empty_batch_norms(
    tmp_path: Path, tiny_recipe: Callable[..., Path], capsys: Any
) -> None:
    recipe = tiny_recipe(backbone={"name": "resnet", "depth": 18}, teacher={"export": True})
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run")]) == 2
    assert "would learn no statistics" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
