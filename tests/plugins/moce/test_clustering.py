"""Clusters of equal size: seeds, rounds, and features that lie so close that a soft plan would merge everything."""

import pytest
import torch
from sslcli_moce.clustering import ROUNDS, Asked, beginning, finished, nearness, next_round
from sslcli_moce.seeding import plus_plus, seeds
from torch.nn.functional import normalize


def clouds(*, kinds=4, each=50, lean=0.0, spread=0.1):
    """Features of unit length around as many directions, `[kinds * each, 16]`, in 64 bits, and their kinds."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.eye(16, dtype=torch.float64)[:kinds]
    labels = torch.arange(kinds).repeat(each)
    noise = torch.randn(len(labels), 16, generator=generator, dtype=torch.float64)
    return normalize(centres[labels] + spread * noise + lean, dim=1), labels


def clustered(features, asked, *, size=64):
    blocks = list(features.split(size))
    first = seeds(blocks, asked.clusters, rows=len(features), seed=asked.seed)
    now = beginning(first, len(features), asked)
    while now.moves:
        now = next_round(blocks, now, asked)
    return finished(blocks, now, asked)


def test_kinds_that_lie_apart_are_found():
    features, labels = clouds()
    now, balance = clustered(features, Asked(4))
    assert balance.deviation <= 1e-3
    assert len({*zip(labels.tolist(), now.ids.tolist())}) == 4
    assert now.ids.bincount().tolist() == [50] * 4


def test_features_that_lean_one_way_do_not_fall_into_one_cluster():
    features, labels = clouds(lean=3.0)
    soft, _ = clustered(features, Asked(4, decided=0.0))
    assert (soft.centroids @ soft.centroids.T).min() > 0.9999  # what the plan at 0.05 makes of them
    now, balance = clustered(features, Asked(4))
    assert now.epsilon < 0.05
    assert balance.decided >= 0.8
    assert len({*zip(labels.tolist(), now.ids.tolist())}) == 4


def test_the_final_plan_is_balanced_as_well_as_was_asked_for():
    features, _ = clouds(spread=0.5)
    deviations = [clustered(features, Asked(8, tolerance=tolerance))[1].deviation for tolerance in (1e-2, 1e-7)]
    assert deviations[0] > 1e-7 >= deviations[1]


def test_the_size_of_the_blocks_makes_no_difference():
    features, _ = clouds(spread=0.5)
    one, other = (clustered(features, Asked(8), size=size)[0] for size in (7, 200))
    assert torch.equal(one.ids, other.ids)
    torch.testing.assert_close(one.centroids, other.centroids)


def test_a_seed_gives_the_same_clusters_again_and_another_one_others():
    features, _ = clouds(spread=0.5)
    one, again, other = (clustered(features, Asked(8, seed=seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one.centroids, again.centroids)
    assert not torch.equal(one.ids, other.ids)


def test_it_ends_after_so_many_rounds_and_the_final_centroids_are_those_of_the_plan():
    features, _ = clouds(kinds=16, each=30, spread=1.0)
    now, _ = clustered(features, Asked(16))
    assert now.round <= ROUNDS
    torch.testing.assert_close(now.centroids.norm(dim=1), torch.ones(16, dtype=torch.float64))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_pictures_that_are_all_the_same_give_no_nan(value):
    now, balance = clustered(torch.full((40, 4), value), Asked(5))
    assert now.centroids.isfinite().all()
    assert balance.deviation < 1e-3


def test_as_many_clusters_as_pictures_and_a_single_one_work():
    features, _ = clouds(kinds=3, each=2)
    assert sorted(clustered(features, Asked(6))[0].ids.tolist()) == list(range(6))
    assert clustered(features, Asked(1))[0].ids.tolist() == [0] * 6


def test_seeds_are_features_and_lie_apart():
    features, labels = clouds(spread=0.01)
    chosen = plus_plus(features, 4, torch.Generator().manual_seed(0))
    numbers = [int((features == row).all(dim=1).nonzero()) for row in chosen]
    assert sorted(labels[numbers].tolist()) == [0, 1, 2, 3]


def test_seeds_are_chosen_from_no_more_features_than_said():
    features, _ = clouds()
    found = seeds(features.split(30), 12, rows=200, seed=0, most=12)
    assert len({tuple(row.tolist()) for row in found}) == 12
    assert torch.equal(found, seeds([features], 12, rows=200, seed=0, most=12))


def test_nearness_is_the_mean_cosine_of_rows_with_their_centroids():
    centroids = torch.eye(2)
    blocks = [torch.tensor([[1.0, 0.0], [0.6, 0.8]]), torch.tensor([[0.0, 1.0]])]
    assert nearness(blocks, centroids, torch.tensor([0, 0, 1], dtype=torch.int32)) == pytest.approx((1 + 0.6 + 1) / 3)
