"""A network in evaluation mode for a while."""

from torch import nn

from sslcli.nn.modes import in_evaluation


def test_each_part_comes_back_in_the_mode_it_was_in() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1).eval())
    with in_evaluation(network):
        assert not any(part.training for part in network.modules())
    assert [part.training for part in network.modules()] == [True, True, False]
