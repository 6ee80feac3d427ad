import pytest
import torch

from sslcli.nn import sample_uniform
from sslcli.nn.random import MASK, MULTIPLIER, multiply, philox

SAMPLES = torch.arange(6)


def draw(seed=0, epoch=0, index=SAMPLES, key="mask", shape=(5,)):
    return sample_uniform(seed, torch.full_like(index, epoch), index, key, shape)


def test_numbers_belong_to_the_sample_not_to_the_batch():
    assert torch.equal(draw(index=SAMPLES[3:]), draw()[3:])
    assert torch.equal(draw(index=SAMPLES.flip(0)), draw().flip(0))


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}, {"key": "noise"}, {"index": SAMPLES + 6}])
def test_another_seed_epoch_sample_or_key_gives_other_numbers(other):
    assert (draw(**other) != draw()).all()


def test_a_longer_draw_begins_with_the_shorter():
    assert torch.equal(draw(shape=(9,))[:, :5], draw())


def test_a_shape_only_folds_the_numbers():
    assert torch.equal(draw(shape=(2, 3)).flatten(1), draw(shape=(6,)))


def test_numbers_are_uniform_and_uncorrelated():
    numbers = draw(index=torch.arange(400), shape=(100,))
    assert numbers.dtype == torch.float32
    assert 0.0 <= numbers.min() < 0.001 < 0.999 < numbers.max() < 1.0
    counts = numbers.flatten().histc(10, 0, 1)
    assert ((counts - 4000) ** 2 / 4000).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    assert torch.corrcoef(numbers[:20]).triu(1).abs().max() < 0.45


def test_indices_beyond_32_bits_are_told_apart():
    near, far = torch.tensor([7]), torch.tensor([7 + (1 << 32)])
    assert (draw(index=near) != draw(index=far)).any()


def test_words_are_multiplied_as_whole_numbers_are():
    for number in (0, 1, 0xFFFF, 0x10000, 0x9E3779B9, MASK):
        high, low = multiply(torch.tensor(number))
        assert (int(high) << 32) | int(low) == number * MULTIPLIER


@pytest.mark.parametrize(
    ("counter", "key", "known"),
    [((0, 0), 0, 0xFF1DAE59), ((MASK, MASK), MASK, 0x2C3F628B), ((0x243F6A88, 0x85A308D3), 0x13198A2E, 0xDD7CE038)],
)
def test_philox_gives_the_numbers_of_its_authors(counter, key, known):
    low, high = (torch.tensor(word) for word in counter)
    assert int(philox(low, high, key)) == known
