"""Balanced assignment: the numbers of the specification, the alternation written out, and blocks against the whole."""

import pytest
import torch
from sslcli_moce.balancing import Sums, plan_of, settle, sinkhorn, weigh
from torch.nn.functional import normalize

SCORES = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.7, 0.2], [0.2, 0.6]], dtype=torch.float64)


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def crowd():
    """Features of unit length that all lean one way, `[300, 16]`, and centroids `[6, 16]`."""
    features = normalize(numbers(300, 16) + 2.0, dim=1)
    return features, features[:6].clone()


def settled(features, centroids, epsilon, **more):
    zeros = torch.zeros(len(centroids), dtype=torch.float64)
    return settle([features], centroids, zeros, epsilon, **more)


@pytest.mark.parametrize(
    ("epsilon", "rows"),
    [
        (0.5, [[0.700566, 0.299434], [0.562175, 0.437825], [0.562175, 0.437825], [0.175085, 0.824915]]),
        (0.05, [[0.997539, 0.002461], [0.501230, 0.498770], [0.501230, 0.498770], [0.0, 1.0]]),
    ],
)
def test_the_converged_plan_is_that_of_the_specification(epsilon, rows):
    plan = sinkhorn(SCORES, epsilon, tolerance=1e-10)
    torch.testing.assert_close(plan, torch.tensor(rows, dtype=torch.float64), atol=6e-7, rtol=0)


@pytest.mark.parametrize(
    ("epsilon", "rounds", "columns"),
    [(0.5, 1, [2.004104, 1.995896]), (0.5, 3, [2.000097, 1.999903]), (0.05, 3, [2.730827, 1.269173])],
)
def test_a_few_rounds_leave_the_columns_as_far_off_as_they_should(epsilon, rounds, columns):
    found = sinkhorn(SCORES, epsilon, rounds=rounds).sum(dim=0)
    torch.testing.assert_close(found, torch.tensor(columns, dtype=torch.float64), atol=6e-7, rtol=0)


def test_three_rounds_are_not_enough_where_a_hundred_are():
    scores = normalize(numbers(512, 16), dim=1) @ normalize(numbers(8, 16, seed=1), dim=1).T
    plan = sinkhorn(scores, 0.05, rounds=100)
    torch.testing.assert_close(plan.sum(dim=1), torch.ones(512, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (plan.sum(dim=0) - 64).abs().max() < 1e-6
    assert (sinkhorn(scores, 0.05, rounds=3).sum(dim=0) - 64).abs().max() > 5


def test_a_constant_on_a_whole_row_or_column_changes_nothing():
    scores = numbers(40, 5)
    shifted = scores + numbers(40, 1, seed=1) + numbers(1, 5, seed=2)
    torch.testing.assert_close(sinkhorn(scores, 0.3), sinkhorn(shifted, 0.3))


def test_one_cluster_takes_everything():
    assert torch.equal(sinkhorn(SCORES[:, :1], 0.05), torch.ones(4, 1, dtype=torch.float64))
    balance = settled(normalize(numbers(9, 4), dim=1), normalize(numbers(1, 4, seed=1), dim=1), 0.05)
    assert (balance.deviation, balance.decided, balance.passes) == (0.0, 1.0, 1)


@pytest.mark.parametrize("epsilon", [0.5, 0.05, 0.01])
def test_settling_finds_the_plan_of_the_alternation(crowd, epsilon):
    features, centroids = crowd
    balance = settled(features, centroids, epsilon, tolerance=1e-10)
    found = plan_of(features, centroids, balance.potentials, epsilon)
    torch.testing.assert_close(found, sinkhorn(features @ centroids.T, epsilon, tolerance=1e-10), atol=1e-7, rtol=0)


def test_settling_takes_far_fewer_passes_than_the_alternation(crowd):
    features, centroids = crowd
    balance = settled(features, centroids, 0.003, tolerance=1e-6)
    assert balance.deviation <= 1e-6
    early = sinkhorn(features @ centroids.T, 0.003, rounds=10 * balance.passes)
    assert (early.sum(dim=0) / 50 - 1).abs().max() > 1e-6


def test_two_halves_summed_are_the_whole(crowd):
    features, centroids = crowd
    potentials = 0.1 * numbers(6, seed=3)
    halves = [weigh([half], centroids, potentials, 0.05) for half in (features[:100], features[100:])]
    whole = weigh(features.split(64), centroids, potentials, 0.05)
    torch.testing.assert_close(Sums(*map(torch.add, *halves)), whole)


def test_a_step_is_decided_by_the_sums_of_all_ranks(crowd):
    features, centroids = crowd

    def as_two(sums):
        return Sums(*(2 * part for part in sums))

    alone = settled(features, centroids, 0.05, tolerance=1e-8)
    shared = settled(features, centroids, 0.05, tolerance=1e-8, reduce=as_two)  # another rank holds just the same
    assert shared.sums.rows == 600
    torch.testing.assert_close(shared.potentials, alone.potentials)


def test_in_32_bits_the_columns_are_balanced_too(crowd):
    features, centroids = (part.float() for part in crowd)
    assert settled(features, centroids, 0.01, tolerance=1e-4).deviation <= 1e-4


@pytest.mark.parametrize("features", [torch.ones(30, 4) / 2, torch.zeros(30, 4)])
def test_features_that_are_all_the_same_are_shared_out_evenly(features):
    balance = settled(features, features[:3].clone(), 0.05)
    assert balance.deviation < 1e-6
    assert balance.decided == pytest.approx(1 / 3)


def test_a_cluster_that_nothing_is_near_gets_its_share_all_the_same(crowd):
    features, centroids = crowd
    centroids[0] = -centroids[1]
    balance = settled(features, centroids, 0.005, tolerance=1e-3)
    assert balance.potentials.isfinite().all()
    assert balance.deviation <= 1e-3
