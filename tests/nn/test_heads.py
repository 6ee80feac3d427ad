import pytest
import torch
from torch import nn

from sslcli.nn import mlp_head, truncated_normal


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("width", "count"), [(192, 18_628_608), (384, 19_415_040), (768, 20_987_904)])
def test_the_projector_of_moco_v3_has_its_published_size(width, count):
    with torch.device("meta"):
        assert parameters(mlp_head(width, 4096, 256, 3)) == count


def test_the_predictor_of_moco_v3_has_its_published_size():
    with torch.device("meta"):
        assert parameters(mlp_head(256, 4096, 256, 2)) == 2_105_344


def test_layers_norms_and_activations_alternate():
    kinds = [type(module).__name__ for module in mlp_head(4, 8, 2, 3)]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]


def test_the_last_norm_has_no_scale_and_no_linear_layer_a_bias():
    head = mlp_head(4, 8, 2, 2)
    assert head[-1].weight is None
    assert [module.bias for module in head if isinstance(module, nn.Linear)] == [None, None]


def test_norms_can_be_left_out():
    kinds = [type(module).__name__ for module in mlp_head(4, 8, 2, 2, norm="none", last_norm="none", activation="gelu")]
    assert kinds == ["Linear", "GELU", "Linear"]


def test_one_layer_goes_straight_to_the_output():
    assert mlp_head(4, 8, 2, 1, last_norm="none", bias=True)(torch.zeros(3, 4)).shape == (3, 2)


def test_the_projection_of_a_batch_has_mean_0_and_deviation_1():
    rows = mlp_head(4, 8, 2, 3)(torch.randn(64, 4))
    torch.testing.assert_close(rows.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows.std(0, unbiased=False), torch.ones(2), atol=1e-2, rtol=0)


@pytest.mark.parametrize(("width", "count"), [(2048, 9_449_472), (256, 2_109_440)])
def test_projector_and_predictor_of_byol_have_their_published_sizes(width, count):
    with torch.device("meta"):
        assert parameters(mlp_head(width, 4096, 256, 2, bias="hidden", last_norm="none")) == count


def test_every_linear_layer_but_the_last_may_have_a_bias():
    layers = [module for module in mlp_head(4, 8, 2, 3, bias="hidden") if isinstance(module, nn.Linear)]
    assert [layer.bias is not None for layer in layers] == [True, True, False]


@pytest.mark.parametrize(("width", "count"), [(384, 5_505_024), (768, 6_291_456), (1024, 6_815_744)])
def test_the_instance_projector_of_mugs_has_its_published_size(width, count):
    with torch.device("meta"):
        head = mlp_head(width, 2048, 256, 3, norm="none", last_norm="none", activation="gelu")
    assert parameters(head) == count


def test_truncated_normal_starts_every_linear_layer_and_nothing_else():
    head = truncated_normal(mlp_head(256, 512, 64, 2, bias=True, norm="batch"))
    for layer in (head[0], head[3]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)
        assert layer.weight.mean().abs() < 1e-3
        assert not layer.bias.any()
    assert (head[1].weight == 1).all()


def test_truncated_normal_leaves_layers_without_bias_without_one():
    head = mlp_head(8, 8, 4, 2)
    assert truncated_normal(head) is head
    assert head[0].bias is None
