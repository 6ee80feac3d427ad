import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.nn import info_nce, nt_xent

Q = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
K = torch.tensor([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1], [1, 1, 0]])
MQ = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 2], [2, 1, 0.0]])
MK = torch.tensor([[1, 1, 0.5], [0.5, 1, 1], [1, 0.5, 1], [1, 0, 0.5]])


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def info_nce_by_hand(query, key, temperature):
    """The equation, term by term."""
    terms = []
    for i in range(len(query)):
        scores = [math.exp(cosine(query[i], k) / temperature) for k in key]
        terms.append(-math.log(scores[i] / sum(scores)))
    return sum(terms) / len(terms)


def nt_xent_by_hand(features, temperature):
    """SimCLR eq. 1 over all ordered pairs of crops of one image."""
    rows = [(image, row) for crop in features for image, row in enumerate(crop)]
    terms = []
    for i, (image, row) in enumerate(rows):
        scores = [math.exp(cosine(row, other) / temperature) for _, other in rows]
        below = sum(score for k, score in enumerate(scores) if k != i)
        terms += [-math.log(scores[j] / below) for j, (other, _) in enumerate(rows) if other == image and j != i]
    return sum(terms) / len(terms)


@pytest.mark.parametrize(("query", "key", "known"), [(Q, K, 0.544990), (MQ, MK, 0.816839)])
def test_info_nce_gives_the_known_numbers(query, key, known):
    assert info_nce(query, key, 0.2).item() == pytest.approx(known, abs=1e-6)


def test_both_directions_give_the_known_loss_of_moco_v3():
    loss = 2 * 0.2 * (info_nce(Q, K, 0.2) + info_nce(MQ, MK, 0.2))
    assert loss.item() == pytest.approx(0.544732, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(batch=st.integers(1, 6), temperature=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_info_nce_is_its_equation(batch, temperature, seed):
    query, key = torch.randn(2, batch, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert info_nce(query, key, temperature).item() == pytest.approx(info_nce_by_hand(query, key, temperature))


@settings(deadline=None, max_examples=25)
@given(crops=st.integers(2, 4), batch=st.integers(1, 5), temperature=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_nt_xent_is_its_equation(crops, batch, temperature, seed):
    features = torch.randn(crops, batch, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert nt_xent(features, temperature).item() == pytest.approx(nt_xent_by_hand(features, temperature))


def test_equal_features_are_at_the_level_of_chance():
    assert info_nce(torch.ones(8, 4), torch.ones(8, 4), 0.2).item() == pytest.approx(math.log(8), abs=1e-6)
    assert nt_xent(torch.ones(2, 8, 4), 0.2).item() == pytest.approx(math.log(15), abs=1e-6)


def test_keys_take_no_gradient():
    query, key = Q.clone().requires_grad_(), K.clone().requires_grad_()
    info_nce(query, key, 0.2).backward()
    assert query.grad is not None
    assert key.grad is None


def test_the_length_of_a_feature_does_not_matter():
    scale = torch.tensor([[0.1], [1.0], [7.0], [50.0]])
    torch.testing.assert_close(info_nce(Q * scale, K / scale, 0.2), info_nce(Q, K, 0.2))
    torch.testing.assert_close(nt_xent(torch.stack([Q * scale, K]), 0.2), nt_xent(torch.stack([Q, K]), 0.2))


def test_the_gradient_of_nt_xent_is_that_of_finite_differences():
    features = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: nt_xent(f, 0.5), (features,))


def test_losses_are_taken_in_full_precision_inside_autocast():
    query, key = torch.randn(2, 32, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(info_nce(query, key, 0.07), info_nce(query, key, 0.07).float())
        inside = info_nce(query, key, 0.07)
    assert torch.equal(inside, info_nce(query, key, 0.07))


def test_half_precision_features_give_a_full_precision_loss():
    assert nt_xent(torch.randn(2, 4, 8).bfloat16(), 0.1).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["info_nce", "nt_xent"])
def test_two_ranks_have_the_loss_and_gradients_of_one(ranks, loss):
    ranks.agree(loss)
