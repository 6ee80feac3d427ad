"""Which parameters decay, at which rate each learns, how gradients are clipped, and who waits."""

from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from torch import nn

from sslcli.api import Progress, Schedule
from sslcli.errors import UserError
from sslcli.recipe.tables import Freeze, Optimizer
from sslcli.training.loop import Loop
from sslcli.training.metrics import Means
from sslcli.training.optimizer import (
    Thaw,
    clip_gradients,
    freeze_for_ever,
    make_optimizer,
    matching,
    parameter_groups,
    set_rates,
    without_gradient,
)
from sslcli.training.schedule import LearningRate


class Student(nn.Module):
    """A tiny timm ViT as a backbone, as far as the optimizer looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 8)
        self.model = timm.create_model(
            "vit_tiny_patch16_224", embed_dim=8, depth=12, num_heads=2, num_classes=0, img_size=32
        )

    @property
    def exported(self) -> nn.Module:
        return self.model


def groups_of(student: Any, **options: Any) -> dict[str, dict[str, Any]]:
    groups = parameter_groups(student, student, Optimizer(lr=1.0, **options))
    return {name: group for group in groups for name in group["names"]}


def test_biases_and_norms_do_not_decay_but_tokens_and_positions_do() -> None:
    group = groups_of(Student())
    assert not group["model.blocks.0.attn.qkv.bias"]["decays"]
    assert not group["model.norm.weight"]["decays"]
    assert group["model.cls_token"]["decays"]
    assert group["model.pos_embed"]["decays"]
    assert group["model.blocks.0.mlp.fc1.weight"]["decays"]


def test_a_pattern_of_a_loss_that_is_not_trained_covers_nothing() -> None:
    assert matching("losses.absent.head.*", ["losses.there.head.weight"]) == []
    with pytest.raises(UserError, match=r"no parameter is called 'losses\.there\.tail\.\*'"):
        matching("losses.there.tail.*", ["losses.there.head.weight"])


def test_decay_all_means_all() -> None:
    assert all(group["decays"] for group in groups_of(Student(), decay="all").values())


def test_layer_decay_gives_the_scales_of_the_mae_specification() -> None:
    group = groups_of(Student(), layer_decay=0.65)
    names = [
        "model.patch_embed.proj.weight",
        "model.blocks.0.norm1.weight",
        "model.blocks.11.norm1.weight",
        "head.weight",
    ]
    expected = [0.00369721, 0.00568801, 0.65, 1.0]
    assert [group[name]["factor"] for name in names] == pytest.approx(expected, abs=1e-8)


def test_factors_of_patterns_multiply() -> None:
    group = groups_of(Student(), lr_factors={"*.patch_embed.*": 0.2, "*.bias": 0.5})
    assert group["model.patch_embed.proj.bias"]["factor"] == pytest.approx(0.1)
    assert group["model.patch_embed.proj.weight"]["factor"] == 0.2


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no parameter is called '\*\.patch_embd\.\*'"):
        groups_of(Student(), lr_factors={"*.patch_embd.*": 0.2})


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_rates_and_decay_are_set_every_step(name: Any) -> None:
    student = Student()
    options = Optimizer(
        name=name, lr=1.0, weight_decay=Schedule(start=0.1, end=0.3, schedule="linear"), lr_factors={"*cls_token": 0.5}
    )
    optimizer = make_optimizer(parameter_groups(student, student, options), options, 1.0)
    set_rates(optimizer, options, LearningRate(2.0, 0.0, 4, 8), Progress(2, 8, 8))
    by_name = {name: group for group in optimizer.param_groups for name in group["names"]}
    assert by_name["model.cls_token"]["lr"] == 0.5
    assert by_name["model.pos_embed"]["lr"] == 1.0
    assert by_name["model.pos_embed"]["weight_decay"] == pytest.approx(0.15)
    assert by_name["model.norm.bias"]["weight_decay"] == 0.0


def with_norms(*norms: float) -> list[nn.Parameter]:
    parameters = []
    for norm in norms:
        parameter = nn.Parameter(torch.zeros(4))
        parameter.grad = torch.full((4,), norm / 2)
        parameters.append(parameter)
    return parameters


def norms_of(parameters: list[nn.Parameter]) -> list[float]:
    return [parameter.grad.norm().item() for parameter in parameters if parameter.grad is not None]


def test_clipping_per_tensor_leaves_small_gradients_alone() -> None:
    parameters = with_norms(30.0, 1.0)
    total = clip_gradients(parameters, 3.0, "per_tensor")
    assert norms_of(parameters) == pytest.approx([3.0, 1.0], abs=1e-5)
    assert total.item() == pytest.approx(901**0.5)


def test_global_clipping_agrees_with_torch() -> None:
    ours, theirs = with_norms(30.0, 1.0, 0.1), with_norms(30.0, 1.0, 0.1)
    clip_gradients(ours, 3.0, "global")
    nn.utils.clip_grad_norm_(theirs, 3.0)
    assert norms_of(ours) == pytest.approx(norms_of(theirs), rel=1e-6)


def test_a_frozen_parameter_keeps_weight_and_moments_until_its_epoch() -> None:
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    thaw = Thaw(layer, (Freeze(parameters=("weight",), epochs=1.0),))
    before = layer.weight.detach().clone()
    for step in range(3):
        layer(torch.ones(1, 2)).sum().backward()
        thaw.drop_gradients(Progress(step, 6, 2))
        optimizer.step()
        optimizer.zero_grad()
        assert torch.equal(layer.weight, before) == (step < 2)
    assert optimizer.state[layer.weight]["step"] == 1


def test_what_is_frozen_for_ever_asks_for_no_gradient() -> None:
    layer = nn.Linear(2, 2)
    freeze_for_ever(layer, (Freeze(parameters=("weight",)),))
    assert [parameter.requires_grad for parameter in (layer.weight, layer.bias)] == [False, True]


@pytest.mark.parametrize(("skipped", "expected"), [(False, {"gradient_norm": 5.0}), (True, {})])
def test_the_norm_of_a_step_that_fp16_passes_over_is_not_noted(skipped: bool, expected: dict[str, float]) -> None:
    optimizer = torch.optim.SGD(with_norms(3.0, 4.0), lr=0.1)
    loop: Any = SimpleNamespace(
        recipe=SimpleNamespace(optimizer=Optimizer(lr=1.0, clip=1.0)),
        accelerator=SimpleNamespace(unscale_gradients=lambda o: None, optimizer_step_was_skipped=skipped),
        plain_optimizer=optimizer,
        optimizer=optimizer,
        means=Means(),
    )
    Loop.move(loop, Progress(0, 10, 5))
    assert loop.means.take() == expected
    assert all(parameter.grad is None for parameter in optimizer.param_groups[0]["params"])


def test_parameters_without_a_gradient_are_named_unless_they_never_learn() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    model[0](torch.ones(1, 2)).sum().backward()
    assert without_gradient(model) == "no loss gives a gradient to 1.weight, 1.bias"
    assert without_gradient(model[0]) == ""
