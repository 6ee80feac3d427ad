import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from sslcli.errors import UserError
from sslcli.nn import batchnorm
from sslcli.nn.batchnorm import SynchronisedBatchNorm, normalise_jointly, synchronise_batch_norm, synchronised


@pytest.mark.slow
def test_two_ranks_normalise_rows_as_one_rank_does(ranks):
    ranks.agree("rows")


@pytest.mark.slow
def test_two_ranks_normalise_images_as_one_rank_does(ranks):
    ranks.agree("images")


def test_a_lone_process_keeps_its_batch_norms():
    network = nn.Sequential(nn.BatchNorm1d(3))
    assert type(synchronise_batch_norm(network)[0]) is nn.BatchNorm1d


def test_every_batch_norm_of_a_network_is_replaced(monkeypatch):
    monkeypatch.setattr(batchnorm, "world", lambda: 2)
    network = synchronise_batch_norm(
        nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(nn.Linear(3, 3), nn.BatchNorm2d(3)))
    )
    joint = nn.SyncBatchNorm if torch.cuda.is_available() else SynchronisedBatchNorm  # PyTorch's own on a GPU
    assert isinstance(network[0], joint)
    assert isinstance(network[1][1], joint)


def test_a_replaced_batch_norm_keeps_parameters_buffers_and_names():
    norm = nn.BatchNorm1d(3)
    twin = synchronised(norm)
    assert twin.weight is norm.weight
    assert twin.running_mean is norm.running_mean
    assert twin.state_dict().keys() == norm.state_dict().keys()


def test_a_batch_norm_without_scale_stays_without():
    assert synchronised(nn.BatchNorm1d(3, affine=False)).weight is None


@pytest.mark.parametrize("training", [True, False])
def test_timm_batch_norm_keeps_its_activation(training):
    norm = BatchNormAct2d(3).train(training)
    images = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(synchronised(norm)(images), norm(images))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("track", [True, False])
def test_a_lone_twin_is_an_ordinary_batch_norm(momentum, track):
    norm = nn.BatchNorm1d(3, momentum=momentum, track_running_stats=track)
    reference = nn.BatchNorm1d(3, momentum=momentum, track_running_stats=track)
    twin = synchronised(norm)
    for _ in range(3):
        rows = torch.randn(8, 3) * 2 + 1
        torch.testing.assert_close(twin(rows), reference(rows))
    rows = torch.randn(8, 3)
    torch.testing.assert_close(twin.eval()(rows), reference.eval()(rows))


def test_a_batch_norm_with_a_forward_of_its_own_is_refused():
    class Odd(nn.BatchNorm1d):
        pass

    with pytest.raises(UserError, match="Odd cannot be synchronised"):
        synchronised(Odd(3))


def test_statistics_of_half_precision_are_taken_in_full():
    rows = (torch.randn(64, 2) + 300).to(torch.bfloat16)
    normed, mean, variance, count = normalise_jointly(rows, 1e-5)
    assert normed.dtype == torch.float32
    torch.testing.assert_close(mean, rows.float().mean(0))
    torch.testing.assert_close(variance, rows.float().var(0, unbiased=False))
    assert count == 64
