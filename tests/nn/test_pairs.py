import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sslcli.errors import UserError
from sslcli.nn import pair_weights

NUMBER = st.integers(1, 5)


def test_mugs_weighs_each_of_2_large_pairs_a_quarter_and_each_of_20_small_ones_a_fortieth():
    weights = pair_weights(2, 2, 10, "balanced")
    torch.testing.assert_close(weights[:, :2], torch.tensor([[0, 0.25], [0.25, 0]]))
    torch.testing.assert_close(weights[:, 2:], torch.full((2, 10), 0.025))


def test_dino_weighs_all_22_pairs_alike():
    weights = pair_weights(2, 2, 10)
    assert int((weights > 0).sum()) == 22
    torch.testing.assert_close(weights[weights > 0], torch.full((22,), 1 / 22))


@pytest.mark.parametrize("how", ["flat", "balanced"])
def test_without_small_crops_the_large_pairs_weigh_the_whole(how):
    torch.testing.assert_close(pair_weights(2, 2, 0, how), torch.tensor([[0, 0.5], [0.5, 0]]))


def test_with_one_large_crop_the_small_pairs_weigh_the_whole():
    torch.testing.assert_close(pair_weights(1, 1, 4, "balanced"), torch.tensor([[0, 0.25, 0.25, 0.25, 0.25]]))


@given(teacher=NUMBER, large=NUMBER, small=st.integers(0, 5), how=st.sampled_from(["flat", "balanced"]))
def test_weights_sum_to_one_and_crops_of_one_number_weigh_nothing(teacher, large, small, how):
    if teacher == large == 1 and small == 0:
        return
    weights = pair_weights(teacher, large, small, how)
    assert weights.shape == (teacher, large + small)
    assert weights.sum().item() == pytest.approx(1)
    for t in range(teacher):
        for s in range(large + small):
            assert (weights[t, s] == 0) == (t == s and s < large)


@given(teacher=st.integers(2, 5), large=st.integers(2, 5), small=NUMBER)
def test_balanced_pairs_with_large_and_with_small_crops_weigh_half_each(teacher, large, small):
    weights = pair_weights(teacher, large, small, "balanced")
    assert weights[:, :large].sum().item() == pytest.approx(0.5)
    assert weights[:, large:].sum().item() == pytest.approx(0.5)


def test_one_crop_against_itself_is_refused():
    with pytest.raises(UserError, match="nothing to compare") as refused:
        pair_weights(1, 1, 0)
    assert "two crops" in refused.value.hint


def test_weights_can_be_had_where_tensors_hold_no_numbers():
    with torch.device("meta"):
        assert pair_weights(2, 2, 10, "balanced").shape == (2, 12)
