"""Tables of positions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import resample_abs_pos_embed
from torch.nn import functional

from sslcli.errors import UserError
from sslcli.nn.positions import grid_of, resize_positions, sincos_table

TABLE = sincos_table(768, (14, 14), prefix=1)


def test_the_cls_row_is_zero_and_the_shape_is_that_of_timm():
    assert TABLE.shape == (1, 197, 768)
    assert TABLE.dtype == torch.float32
    assert (TABLE[0, 0] == 0).all()


def test_the_first_half_encodes_the_column_as_in_mae():
    token = TABLE[0, 1 + 1]  # row 0, column 1
    assert token[:3].tolist() == pytest.approx([0.841471, 0.815251, 0.788593], abs=1e-6)
    assert token[192:195].tolist() == pytest.approx([0.540302, 0.579108, 0.614915], abs=1e-6)
    assert token[384:387].tolist() == [0, 0, 0]
    assert token[576].item() == 1


def test_the_second_half_encodes_the_row():
    token = TABLE[0, 1 + 14]  # row 1, column 0
    assert token[:3].tolist() == [0, 0, 0]
    assert token[384:387].tolist() == pytest.approx([0.841471, 0.815251, 0.788593], abs=1e-6)


def test_every_patch_row_has_the_same_length():
    assert torch.allclose(TABLE[0, 1:].norm(dim=1), torch.tensor(math.sqrt(384)), atol=1e-4)


def test_the_table_follows_its_equation():
    table = sincos_table(8, (3, 5))[0]
    for row in range(3):
        for column in range(5):
            angles = [place / 10000 ** (k / 2) for place in (column, row) for k in range(2)]
            sines, cosines = [math.sin(a) for a in angles], [math.cos(a) for a in angles]
            expected = sines[:2] + cosines[:2] + sines[2:] + cosines[2:]
            assert table[row * 5 + column].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_transposed_table_swaps_rows_and_columns():
    straight = sincos_table(8, (4, 4))[0].reshape(4, 4, 8)
    swapped = sincos_table(8, (4, 4), transposed=True)[0].reshape(4, 4, 8)
    assert torch.equal(swapped, straight.transpose(0, 1))
    assert not torch.equal(swapped, straight)


def test_a_width_that_does_not_split_in_four_is_refused():
    with pytest.raises(UserError, match="multiple of 4, not 10"):
        sincos_table(10, (2, 2))


@given(old=st.tuples(st.integers(2, 6), st.integers(2, 6)), new=st.tuples(st.integers(1, 8), st.integers(1, 8)))
def test_resizing_by_size_is_that_of_timm_and_leaves_prefix_rows(old, new):
    table = torch.randn(1, 2 + old[0] * old[1], 4)
    resized = resize_positions(table, old, new, prefix=2)
    assert torch.equal(resized[:, :2], table[:, :2])
    assert torch.equal(resized, resample_abs_pos_embed(table, list(new), list(old), num_prefix_tokens=2))


def test_resizing_to_the_same_grid_gives_the_table_itself():
    assert resize_positions(TABLE, (14, 14), (14, 14), prefix=1, how="dino") is TABLE


def test_dino_resizes_by_the_scale_factor_with_a_tenth_more():
    table = torch.randn(1, 197, 4)
    image = table[:, 1:].reshape(1, 14, 14, 4).permute(0, 3, 1, 2)
    small = functional.interpolate(image, scale_factor=(6.1 / 14, 6.1 / 14), mode="bicubic")
    resized = resize_positions(table, (14, 14), (6, 6), prefix=1, how="dino")
    assert torch.equal(resized[:, :1], table[:, :1])
    assert torch.equal(resized[:, 1:], small.permute(0, 2, 3, 1).reshape(1, 36, 4))


def test_dino_samples_other_places_than_the_size_does():
    table = torch.randn(1, 196, 4)
    plain = functional.interpolate(table.reshape(1, 14, 14, 4).permute(0, 3, 1, 2), size=(6, 6), mode="bicubic")
    dino = resize_positions(table, (14, 14), (6, 6), how="dino").reshape(1, 6, 6, 4).permute(0, 3, 1, 2)
    assert not torch.allclose(dino, plain, atol=1e-4)


@given(side=st.integers(1, 64), other=st.integers(1, 64))
def test_dino_never_loses_a_row_to_rounding(side, other):
    assert (
        resize_positions(torch.zeros(1, side * side, 1), (side, side), (other, other), how="dino").shape[1] == other**2
    )


def test_the_grid_of_a_table_is_found_with_the_first_prefix_that_fits():
    assert grid_of(197, (1, 0)) == (1, (14, 14))
    assert grid_of(196, (1, 0, 2)) == (0, (14, 14))
    assert grid_of(201, (1, 0, 5)) == (5, (14, 14))
    assert grid_of(198, (1, 0)) is None
