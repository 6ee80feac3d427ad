"""Intervals by bootstrap: against a plain resampling, a known spread, and their own seed."""

import numpy as np
import pytest
import torch

from sslcli.evaluation.interval import Interval, mean_interval, paired_interval, within


@pytest.fixture
def right() -> torch.Tensor:
    """400 pictures, three quarters of them classified right."""
    return torch.arange(400) % 4 != 0


def test_the_interval_is_that_of_a_plain_resampling(right: torch.Tensor) -> None:
    rng = np.random.default_rng(1)
    values = right.double().numpy()
    means = [values[rng.integers(400, size=400)].mean() for _ in range(4000)]
    found = mean_interval(right, resamples=4000)
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.003)
    assert found.value == 0.75


def test_its_width_is_that_of_the_normal_law(right: torch.Tensor) -> None:
    found = mean_interval(right, resamples=20_000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.75 * 0.25 / 400) ** 0.5, rel=0.05)


def test_the_same_seed_gives_the_same_interval_and_global_chance_is_left_alone(right: torch.Tensor) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    assert mean_interval(right, seed=3) == mean_interval(right, seed=3) != mean_interval(right, seed=4)
    assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]


def test_a_difference_on_the_same_pictures_is_told_apart_where_two_intervals_overlap(right: torch.Tensor) -> None:
    better = right.clone()
    better[:40:4] = True  # ten pictures more, none less
    gain = paired_interval([better], [right])
    assert gain.value == pytest.approx(0.025)
    assert gain.sign == 1
    assert mean_interval(right).high > mean_interval(better).low


def test_equals_are_not_told_apart() -> None:
    one = torch.tensor([True, False] * 50)
    assert paired_interval([one], [one]) == Interval(0.0, 0.0, 0.0)
    assert paired_interval([one], [~one]).sign == 0


def test_a_mean_over_tasks_counts_each_task_once_however_many_pictures_it_has() -> None:
    found = mean_interval(torch.ones(10), torch.zeros(1000))
    assert found == Interval(0.5, 0.5, 0.5)


def test_the_ends_of_an_interval_stay_within_what_can_be() -> None:
    assert within(-0.1, 1.2, 0.0, 1.0) == (0.0, 1.0)
    assert within(0.2, 0.3, 0.0, 1.0) == (0.2, 0.3)
