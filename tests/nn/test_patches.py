import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.nn import kept_patches, normalise_patches, patchify, random_masking, unpatchify
from sslcli.nn.patches import put_back


def test_a_patch_is_laid_out_row_column_channel():
    images = torch.arange(2 * 3 * 8 * 12).reshape(2, 3, 8, 12)
    patches = patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    for row, column, channel in [(0, 0, 0), (1, 3, 2), (3, 2, 1)]:
        assert patches[1, 4, (row * 4 + column) * 3 + channel] == images[1, channel, 4 + row, 4 + column]


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), patch=st.integers(1, 4), channels=st.integers(1, 3))
def test_images_come_back_from_their_patches(rows, columns, patch, channels):
    images = torch.randn(2, channels, rows * patch, columns * patch)
    assert torch.equal(unpatchify(patchify(images, patch), patch, (rows, columns)), images)


def test_a_ramp_is_normalised_by_its_unbiased_variance():
    ramp = normalise_patches(torch.arange(768.0, dtype=torch.float64))
    assert ramp[0].item() == pytest.approx(-1.728670, abs=1e-6)
    assert ramp[-1].item() == pytest.approx(1.728670, abs=1e-6)


def test_a_small_patch_is_normalised_as_known():
    torch.testing.assert_close(normalise_patches(torch.tensor([0.0, 0, 0, 4])), torch.tensor([-0.5, -0.5, -0.5, 1.5]))


def test_a_constant_patch_becomes_zero():
    assert torch.equal(normalise_patches(torch.full((2, 12), 7.0)), torch.zeros(2, 12))


def test_a_masking_follows_its_noise():
    masking = random_masking(torch.tensor([[0.9, 0.1, 0.5, 0.3]]), 2)
    assert masking.keep.tolist() == [[1, 3]]
    assert masking.restore.tolist() == [[3, 0, 2, 1]]
    assert masking.mask.tolist() == [[1, 0, 1, 0]]


@pytest.mark.parametrize(
    ("patches", "ratio", "kept"),
    [(196, 0.5, 98), (196, 0.6, 78), (196, 0.7, 58), (196, 0.75, 49), (196, 0.8, 39), (196, 0.9, 19), (256, 0.75, 64)],
)
def test_kept_patches_are_rounded_down(patches, ratio, kept):
    assert kept_patches(patches, ratio) == kept


def test_tokens_are_put_back_where_they_were_seen():
    tokens = torch.randn(3, 10, 2)
    masking = random_masking(torch.rand(3, 10), 4)
    seen = tokens.gather(1, masking.keep.unsqueeze(-1).expand(-1, -1, 2))
    back = put_back(torch.cat([seen, torch.full((3, 6, 2), math.nan)], dim=1), masking.restore)
    assert torch.equal(back.isnan()[..., 0], masking.mask.bool())
    assert torch.equal(back[masking.mask == 0], tokens[masking.mask == 0])


def test_every_patch_is_hidden_equally_often():
    masks = random_masking(torch.rand(4000, 16, generator=torch.Generator().manual_seed(0)), 4).mask
    assert (masks.sum(1) == 12).all()
    torch.testing.assert_close(masks.mean(0), torch.full((16,), 0.75), atol=0.03, rtol=0)
