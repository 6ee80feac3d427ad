"""Chance that belongs to a view."""

import numpy as np

from sslcli.data.draws import group_generator, stack_draws, stream_generator, view_generator


def test_a_view_has_the_same_numbers_whenever_they_are_asked_for():
    first, again = (view_generator(7, 3, 1200, "global", 1).random(8) for _ in range(2))
    assert np.array_equal(first, again)


def test_seed_epoch_sample_group_and_crop_each_change_the_numbers():
    places = [(0, 0, 0, "a", 0), (1, 0, 0, "a", 0), (0, 1, 0, "a", 0), (0, 0, 1, "a", 0), (0, 0, 0, "b", 0)]
    places.append((0, 0, 0, "a", 1))
    assert len({view_generator(*place).random() for place in places}) == len(places)


def test_numbers_of_neighbouring_samples_are_uniform_and_unrelated():
    numbers = np.array([view_generator(0, 0, index, "global", 0).random(2) for index in range(4000)])
    assert np.allclose(numbers.mean(0), 0.5, atol=0.02)
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.05
    assert abs(np.corrcoef(numbers.T)[0, 1]) < 0.05


def test_the_crops_of_a_group_share_a_generator_however_much_was_drawn_before():
    first, second = view_generator(5, 2, 9, "pair", 0), view_generator(5, 2, 9, "pair", 1)
    second.random(100)
    assert group_generator(first).random() == group_generator(second).random()
    assert group_generator(view_generator(5, 2, 10, "pair", 0)).random() != group_generator(first).random()


def test_a_negative_seed_is_as_good_as_any():
    assert view_generator(-1, 0, 0, "g", 0).random() != view_generator(1, 0, 0, "g", 0).random()


def test_streams_of_different_purposes_differ():
    assert stream_generator(0, "order", 1).random() != stream_generator(0, "substitute", 1).random()


def test_draws_are_stacked_by_crop_and_sample():
    draws = [[{"coin": True, "sigma": 0.5, "box": np.array([i, c])} for i in range(3)] for c in range(2)]
    stacked = stack_draws(draws)
    assert stacked["coin"].dtype == np.bool_
    assert stacked["sigma"].dtype == np.float32
    assert stacked["box"].shape == (2, 3, 2)
    assert stacked["box"][1, 2].tolist() == [2, 1]
