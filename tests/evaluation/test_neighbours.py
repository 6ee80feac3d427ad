"""Nearest neighbours against a plain sort of all similarities."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from sslcli.evaluation import neighbours


def by_sorting(similarities: list[float], k: int) -> list[int]:
    """Columns by falling similarity, then by rising number."""
    return sorted(range(len(similarities)), key=lambda column: (-similarities[column], column))[:k]


def test_neighbours_are_those_of_a_full_sort_of_the_cosines() -> None:
    torch.manual_seed(0)
    train, test = torch.randn(50, 8), torch.randn(7, 8)
    similarities, positions = neighbours.nearest(train, test, 9)
    cosines = normalize(test, dim=1) @ normalize(train, dim=1).T
    expected = cosines.sort(dim=1, descending=True)
    assert torch.equal(positions, expected.indices[:, :9])
    torch.testing.assert_close(similarities, expected.values[:, :9])


@pytest.mark.parametrize(("rows", "cells"), [(1, 1), (3, 10), (7, 21), (50, 60), (64, 1 << 20)])
def test_the_size_of_the_blocks_changes_nothing(rows: int, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    train, test = torch.randn(50, 8), torch.randn(11, 8)
    expected = neighbours.nearest(train, test, 20)
    monkeypatch.setattr(neighbours, "TRAIN_BLOCK", rows)
    monkeypatch.setattr(neighbours, "CELLS", cells)
    found = neighbours.nearest(train, test, 20)
    assert torch.equal(found[1], expected[1])
    torch.testing.assert_close(found[0], expected[0])


@given(st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 6))
def test_of_equal_similarities_the_earlier_column_comes_first(rows: list[list[int]], k: int) -> None:
    _, columns = neighbours.top(torch.tensor(rows, dtype=torch.float32), k)
    assert columns.tolist() == [by_sorting([float(cell) for cell in row], k) for row in rows]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_equal_pictures_are_taken_in_their_order_in_blocks_of_any_size(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "TRAIN_BLOCK", rows)
    train = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(6, 1)
    _, positions = neighbours.nearest(train, torch.tensor([[3.0, 0.0]]), 8)
    assert positions.tolist() == [[1, 3, 5, 7, 9, 11, 0, 2]]


def test_features_that_are_all_zero_give_the_first_pictures() -> None:
    similarities, positions = neighbours.nearest(torch.zeros(9, 3), torch.zeros(2, 3), 4)
    assert positions.tolist() == [[0, 1, 2, 3]] * 2
    assert similarities.eq(0).all()


def test_a_block_of_similarities_stays_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = neighbours.top
    monkeypatch.setattr(neighbours, "TRAIN_BLOCK", 64)
    monkeypatch.setattr(neighbours, "CELLS", 1024)
    monkeypatch.setattr(neighbours, "top", lambda block, k: sizes.append(block.numel()) or original(block, k))
    neighbours.nearest(torch.randn(300, 4), torch.randn(100, 4), 5)
    assert max(sizes) <= 1024
    assert sum(sizes) == 300 * 100
