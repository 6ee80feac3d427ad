import pytest
import torch
from torch import nn

from sslcli.nn import mlp_head


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
