"""Gates, their noise and their regularisers."""

import math

import pytest
import torch

from sslcli.nn.gates import (
    entropies,
    importance,
    load,
    normal_of,
    sample_noise,
    squared_variation,
    straight_through,
    top_gates,
)

P = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], dtype=torch.float64)


def test_importance_is_the_sum_of_the_gates_and_its_variation_has_two_readings():
    wanted = importance(P)
    assert wanted.tolist() == pytest.approx([1.6, 1.5, 0.9])
    assert squared_variation(wanted).item() == pytest.approx(0.053750, abs=1e-6)
    assert squared_variation(wanted, unbiased=True).item() == pytest.approx(0.080625, abs=1e-6)


def test_sparse_gates_and_hard_counts_vary_as_written():
    sparse = importance(top_gates(P, 1))
    assert squared_variation(sparse).item() == pytest.approx(0.106996, abs=1e-6)
    assert squared_variation(sparse, unbiased=True).item() == pytest.approx(0.160494, abs=1e-6)
    assert squared_variation(torch.tensor([2.0, 1.0, 1.0])).item() == pytest.approx(0.125)
    assert squared_variation(torch.tensor([2.0, 1.0, 1.0]), unbiased=True).item() == pytest.approx(0.1875)


def test_confidence_is_the_mean_entropy_of_the_rows():
    assert entropies(P).tolist() == pytest.approx([0.801819, 0.897946, 0.639032, 0.950271], abs=1e-6)
    assert entropies(P).mean().item() == pytest.approx(0.822267, abs=1e-6)
    total = 0.01 * squared_variation(importance(P)) + 0.01 * entropies(P).mean()
    assert total.item() == pytest.approx(0.00876, abs=1e-6)


@pytest.mark.parametrize(
    ("gates", "variation", "unbiased", "doubt"),
    [
        (torch.full((8, 8), 1 / 8), 0.0, 0.0, math.log(8)),
        (torch.eye(8)[torch.zeros(8, dtype=torch.long)], 7.0, 8.0, 0.0),
        (torch.eye(8), 0.0, 0.0, 0.0),
    ],
)
def test_only_balanced_and_certain_gates_cost_nothing(gates, variation, unbiased, doubt):
    assert squared_variation(importance(gates)).item() == pytest.approx(variation, abs=1e-6)
    assert squared_variation(importance(gates), unbiased=True).item() == pytest.approx(unbiased, abs=1e-5)
    assert entropies(gates).mean().item() == pytest.approx(doubt, abs=1e-6)


def test_a_single_expert_is_balanced():
    assert squared_variation(torch.tensor([3.0]), unbiased=True).item() == 0.0


def test_load_counts_chances_of_being_chosen_under_noise():
    logits = torch.tensor([[1, 0, -1], [0.5, 0.4, 0], [-1, 2, 0], [0, 0, 0.3]], dtype=torch.float64)
    noise = torch.tensor([[0.1, -0.05, 0.02], [-0.1, 0.1, 0], [0, 0, 0], [0.02, -0.02, 0.01]], dtype=torch.float64)
    assert squared_variation(load(logits, noise, 1 / 3, 1)).item() == pytest.approx(0.071072, abs=1e-6)


def test_a_temperature_sharpens_the_softmax():
    logits = torch.tensor([0.2, 0.1, 0.0, -0.1], dtype=torch.float64)
    assert logits.softmax(0).tolist() == pytest.approx([0.288651, 0.261183, 0.236328, 0.213838], abs=1e-6)
    assert (logits / 0.05).softmax(0).tolist() == pytest.approx([0.864955, 0.117059, 0.015842, 0.002144], abs=1e-6)


def test_top_gates_keep_their_values_and_ties_go_to_the_first():
    assert top_gates(P, 2)[0].tolist() == pytest.approx([0.7, 0.2, 0.0])
    assert top_gates(torch.full((1, 4), 0.25), 2).tolist() == [[0.25, 0.25, 0.0, 0.0]]


def test_straight_through_gates_are_one_with_the_gradient_of_the_logarithm():
    gates = torch.tensor([0.25, 0.0, 0.5], requires_grad=True)
    through = straight_through(gates)
    assert through.tolist() == [1.0, 0.0, 1.0]
    through.sum().backward()
    assert gates.grad.tolist() == [4.0, 1.0, 2.0]


@pytest.mark.parametrize("term", [lambda p: squared_variation(importance(p)), lambda p: entropies(p).mean()])
def test_gradients_are_those_of_finite_differences(term):
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: term(x.softmax(-1)), logits)


def test_the_gradient_of_the_load_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    logits, noise = (torch.randn(4, 3, dtype=torch.float64, generator=generator) for _ in range(2))
    check = torch.autograd.gradcheck(lambda x: squared_variation(load(x, 0.3 * noise, 0.3, 1)), logits.requires_grad_())
    assert check


def test_normal_numbers_are_finite_at_the_ends_and_normal_between():
    ends = normal_of(torch.tensor([0.0, 0.5, 1 - 2.0**-24]))
    assert ends.isfinite().all()
    assert ends[1].abs() < 1e-6
    many = normal_of(torch.rand(100_000, generator=torch.Generator().manual_seed(0)))
    assert many.mean().abs() < 0.01
    assert many.std().item() == pytest.approx(1.0, abs=0.01)


def test_noise_belongs_to_the_sample_and_epoch():
    index, epoch = torch.tensor([3, 8]), torch.tensor([1, 1])
    both = sample_noise({"index": index, "epoch": epoch}, 0, "k", torch.zeros(2, 4))
    one = sample_noise({"index": index[1:], "epoch": epoch[1:]}, 0, "k", torch.zeros(1, 4))
    assert torch.equal(both[1:], one)
    later = sample_noise({"index": index, "epoch": epoch + 1}, 0, "k", torch.zeros(2, 4))
    assert not torch.equal(both, later)


def test_the_gradient_of_a_certain_gate_is_finite():
    logits = torch.tensor([[500.0, 0.0, -500.0]], requires_grad=True)
    entropies(logits.softmax(-1)).sum().backward()
    assert torch.equal(logits.grad, torch.zeros(1, 3))
