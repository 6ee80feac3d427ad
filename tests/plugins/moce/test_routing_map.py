"""The numbers and the map of a routing."""

import math

import pytest
import torch
from sslcli_moce.diagnosis import measure, order_by_expert, words
from sslcli_moce.figures import routing_figure

from sslcli.nn.gates import top_gates

GATES = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])


def measured(probabilities, sizes):
    return measure(probabilities, top_gates(probabilities, 1), torch.tensor(sizes))


def test_the_numbers_are_those_of_the_specification():
    layer = measured(GATES, [1, 1, 1, 1])
    assert layer.importance.tolist() == pytest.approx([1.6, 1.5, 0.9])
    assert layer.imbalance == pytest.approx(0.053750, abs=5e-7)
    assert layer.load.tolist() == [2, 1, 1]
    assert layer.entropy == pytest.approx(0.822267, abs=5e-7)
    assert layer.entropy_of_mean == pytest.approx(1.069950, abs=5e-7)
    assert layer.information == pytest.approx(0.247683, abs=5e-7)


def test_a_cluster_counts_by_its_pictures():
    split = measured(GATES[[0, 0, 0, 1, 2, 3]], [10, 10, 10, 5, 0, 20])
    whole = measured(GATES, [30, 5, 0, 20])
    assert split.load.tolist() == whole.load.tolist() == [35, 0, 20]
    assert split.entropy == pytest.approx(whole.entropy)
    assert split.dead == (1,)


@pytest.mark.parametrize(
    ("gates", "imbalance", "entropy", "information"),
    [
        (torch.full((8, 8), 1 / 8), 0, math.log(8), 0),
        (torch.eye(8)[[0] * 8], 7, 0, 0),
        (torch.eye(8), 0, 0, math.log(8)),
    ],
    ids=["uniform", "collapsed", "balanced"],
)
def test_the_extremes(gates, imbalance, entropy, information):
    layer = measured(gates, [3] * 8)
    found = (layer.imbalance, layer.entropy, layer.information)
    assert found == pytest.approx((imbalance, entropy, information), abs=1e-5)


def test_dead_experts_and_gates_that_hardly_choose_are_told_in_words():
    said = words({1: measured(torch.eye(4)[[0, 1, 1, 0]], [5] * 4), 3: measured(torch.full((4, 4), 0.25), [5] * 4)})
    assert said == [
        "block 1: 2 of 4 experts get no picture: 2, 3",
        "block 3: 3 of 4 experts get no picture: 1, 2, 3",
        "block 3: the gates hardly choose: mean entropy 1.39 nats, of ln 4 = 1.39 at most",
    ]


def test_nothing_is_said_of_a_routing_that_works():
    assert words({1: measured(torch.eye(4), [5] * 4)}) == []


def test_clusters_are_sorted_by_their_expert_and_the_surest_first():
    gates = torch.tensor([[0.1, 0.9], [0.6, 0.4], [0.2, 0.8], [0.9, 0.1]])
    assert order_by_expert(gates).tolist() == [3, 1, 0, 2]


def test_the_figure_shows_every_gate_of_every_layer_and_the_load_of_every_expert():
    layers = {1: measured(GATES, [1, 1, 1, 1]), 3: measured(GATES.flip(1), [4, 3, 2, 1])}
    figure = routing_figure(layers)
    maps = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    bars = [[bar.get_width() for bar in axes.patches] for axes in figure.axes if axes.patches]
    assert [array.shape for array in maps] == [(3, 4), (3, 4)]
    assert maps[0].T.tolist() == GATES[order_by_expert(GATES)].tolist()
    assert bars == [pytest.approx([0.5, 0.25, 0.25]), pytest.approx([0.1, 0.2, 0.7])]
    assert [axes.get_title(loc="left").split(":")[0] for axes in figure.axes if axes.images] == ["block 1", "block 3"]


def test_dead_experts_stand_in_the_title():
    (axes, *_) = routing_figure({2: measured(torch.eye(4)[[0, 1, 1, 0]], [5] * 4)}).axes
    assert axes.get_title(loc="left").endswith("no picture for 2, 3")
