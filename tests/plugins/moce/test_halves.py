"""Two halves of clusters: what is together stays together, by a plain search over all divisions, and by the seed."""

from itertools import product

import pytest
import torch
from sslcli_moce.halves import cohesion, rows_of_halves, split_clusters
from torch import Tensor
from torch.nn.functional import normalize

from sslcli.errors import UserError


def around(*middles: tuple[float, ...], each: int, seed: int = 0) -> Tensor:
    """`each` unit vectors around every middle, one middle after the other."""
    noise = torch.randn(len(middles) * each, len(middles[0]), generator=torch.Generator().manual_seed(seed))
    return normalize(torch.tensor(middles).repeat_interleave(each, dim=0) + 0.1 * noise, dim=1)


def test_two_groups_of_clusters_are_told_apart_and_the_larger_is_a() -> None:
    centroids = around((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), each=5)
    few_first = torch.tensor([10] * 5 + [30] * 5)
    assert split_clusters(centroids, few_first).tolist() == [True] * 5 + [False] * 5
    assert split_clusters(centroids, few_first.flip(0)).tolist() == [False] * 5 + [True] * 5


def test_no_other_division_is_better() -> None:
    generator = torch.Generator().manual_seed(1)
    centroids = normalize(torch.randn(9, 4, generator=generator), dim=1).double()
    sizes = torch.randint(5, 50, (9,), generator=generator)
    found = cohesion(centroids, sizes.double(), split_clusters(centroids, sizes))
    every = [torch.tensor(sides) for sides in product([False, True], repeat=9)][1:-1]
    assert found == pytest.approx(max(cohesion(centroids, sizes.double(), side) for side in every))


def test_pictures_count_not_clusters() -> None:
    angles = torch.tensor([0.0, 0.4, 1.0])
    centroids = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert split_clusters(centroids, torch.tensor([2, 2, 2])).tolist() == [False, False, True]
    assert split_clusters(centroids, torch.tensor([500, 500, 1])).tolist() == [True, False, False]


def test_the_same_seed_gives_the_same_halves_and_global_chance_is_left_alone() -> None:
    centroids, sizes = around((1.0, 0.0), each=12), torch.ones(12, dtype=torch.int64)
    before = torch.random.get_rng_state()
    assert split_clusters(centroids, sizes, seed=2).equal(split_clusters(centroids, sizes, seed=2))
    assert before.equal(torch.random.get_rng_state())


def test_clusters_that_are_all_alike_are_divided_all_the_same() -> None:
    half = split_clusters(torch.eye(3)[[0, 0, 0]], torch.tensor([3, 3, 3]))
    assert 0 < int(half.sum()) < 3


def test_empty_clusters_are_of_a_and_there_must_be_two_with_pictures() -> None:
    half = split_clusters(torch.eye(3), torch.tensor([0, 5, 4]))
    assert half.tolist() == [False, False, True]
    with pytest.raises(UserError, match="no two clusters with pictures"):
        split_clusters(torch.eye(3), torch.tensor([0, 5, 0]))


def test_each_picture_is_of_one_half_but_those_that_could_not_be_read() -> None:
    ids = torch.tensor([2, 0, -1, 1, 2])
    assert rows_of_halves(ids, torch.tensor([False, True, True])) == ([1], [0, 3, 4])
