import pytest
import torch
from timm.layers import DropPath, PatchDropout
from torch import nn

from sslcli.nn import Momentum, update_all


def filled(module, value):
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def test_the_target_starts_as_a_copy_that_shares_nothing():
    pair = Momentum(nn.Linear(2, 3))
    for target, online in pair.pairs():
        assert torch.equal(target, online)
        assert target.data_ptr() != online.data_ptr()


def test_only_the_online_side_learns():
    pair = Momentum(nn.Linear(2, 3))
    assert [p.requires_grad for p in pair.online.parameters()] == [True, True]
    assert [p.requires_grad for p in pair.target.parameters()] == [False, False]


def test_updates_follow_the_known_numbers():
    pair = Momentum(nn.Linear(1, 1))
    filled(pair.online, 1.0), filled(pair.target, 0.0)
    update_all(pair, 0.996)
    assert pair.target.weight.item() == pytest.approx(0.004, abs=1e-7)
    update_all(pair, 0.996)
    assert pair.target.weight.item() == pytest.approx(0.007984, abs=1e-7)


def test_a_momentum_of_one_changes_no_bit():
    pair = Momentum(nn.Linear(5, 5))
    before = pair.target.weight.clone()
    filled(pair.online, 3.0)
    update_all(pair, 1.0)
    assert torch.equal(pair.target.weight, before)


def test_a_momentum_of_zero_copies():
    pair = Momentum(nn.Linear(5, 5))
    filled(pair.online, 3.0)
    update_all(pair, 0.0)
    assert torch.equal(pair.target.weight, pair.online.weight)


def test_every_pair_of_a_model_is_updated():
    model = nn.ModuleDict({"a": Momentum(nn.Linear(2, 2)), "b": nn.Sequential(Momentum(nn.Linear(3, 3)))})
    for pair in (model["a"], model["b"][0]):
        filled(pair.online, 1.0), filled(pair.target, 0.0)
    update_all(model, 0.75)
    assert all((p.target.weight == 0.25).all() for p in (model["a"], model["b"][0]))


def test_pairs_are_made_by_name_not_by_order():
    pair = Momentum(nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}))
    pair.online = nn.ModuleDict({"b": filled(nn.Linear(2, 2), 2.0), "a": filled(nn.Linear(2, 2), 1.0)})
    update_all(pair, 0.0)
    assert (pair.target["a"].weight == 1.0).all()
    assert (pair.target["b"].weight == 2.0).all()


def test_a_parameter_of_the_online_side_alone_is_left_out():
    pair = Momentum(nn.Linear(2, 2))
    pair.online.register_parameter("extra", nn.Parameter(torch.ones(1)))
    update_all(pair, 0.5)
    assert not hasattr(pair.target, "extra")


def test_a_parameter_that_the_online_side_lost_is_named():
    pair = Momentum(nn.Linear(2, 2))
    pair.online = nn.Linear(2, 2, bias=False)
    with pytest.raises(KeyError, match="bias"):
        update_all(pair, 0.5)


def test_half_and_full_precision_are_updated_together():
    model = nn.ModuleList([Momentum(nn.Linear(2, 2)), Momentum(nn.Linear(2, 2).bfloat16())])
    for pair in model:
        filled(pair.online, 1.0), filled(pair.target, 0.0)
    update_all(model, 0.5)
    assert [pair.target.weight.dtype for pair in model] == [torch.float32, torch.bfloat16]
    assert all((pair.target.weight == 0.5).all() for pair in model)


def test_a_full_precision_target_may_follow_a_half_precision_side():
    pair = Momentum(nn.Linear(2, 2))
    filled(pair.online.bfloat16(), 1.0), filled(pair.target, 0.0)
    update_all(pair, 0.996)
    assert pair.target.weight[0, 0].item() == pytest.approx(0.004, abs=1e-7)


def test_running_statistics_are_not_averaged():
    pair = Momentum(nn.BatchNorm1d(2))
    pair.online(torch.randn(8, 2) + 5)
    update_all(pair, 0.5)
    assert torch.equal(pair.target.running_mean, torch.zeros(2))


def test_the_target_normalises_with_the_statistics_of_the_batch():
    pair = Momentum(nn.BatchNorm1d(2)).train()
    normed = pair.target(torch.randn(64, 2) + 5)
    torch.testing.assert_close(normed.mean(0), torch.zeros(2), atol=1e-5, rtol=0)


def test_the_target_drops_nothing_and_the_online_side_still_does():
    pair = Momentum(nn.Sequential(nn.Dropout(0.5), DropPath(0.5), PatchDropout(0.5, num_prefix_tokens=0))).train()
    tokens = torch.ones(4, 8, 2)
    assert torch.equal(pair.target(tokens), tokens)
    assert (pair.online[0].p, pair.online[1].drop_prob, pair.online[2].prob) == (0.5, 0.5, 0.5)
