import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sslcli.nn import info_nce, nt_xent, queue_contrast

Q = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
K = torch.tensor([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1], [1, 1, 0]])
MQ = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 2], [2, 1, 0.0]])
MK = torch.tensor([[1, 1, 0.5], [0.5, 1, 1], [1, 0.5, 1], [1, 0, 0.5]])


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


def directions(*shape, seed=0, dtype=torch.float64):
    """Random unit vectors."""
    vectors = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return torch.nn.functional.normalize(vectors, dim=-1)


def info_nce_by_hand(query, key, temperature, negatives=()):
    """The equation, term by term."""
    terms = []
    for i in range(len(query)):
        scores = [math.exp(cosine(query[i], k) / temperature) for k in (*key, *negatives)]
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


def queue_contrast_by_hand(queries, keys, negatives, temperature):
    """MoCo's loss of one pair of crops."""
    terms = []
    for p, k in zip(queries, keys):
        own = math.exp(float(p @ k) / temperature)
        terms.append(-math.log(own / (own + sum(math.exp(float(p @ q) / temperature) for q in negatives))))
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
@given(batch=st.integers(1, 5), size=st.integers(1, 7), temperature=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_negatives_of_info_nce_stand_below_the_line_with_the_keys(batch, size, temperature, seed):
    query, key, negatives = directions(3, max(batch, size), 3, seed=seed)
    query, key, negatives = query[:batch] * 2, key[:batch] * 3, negatives[:size]
    loss = info_nce(query, key, temperature, negatives=negatives)
    assert loss.item() == pytest.approx(info_nce_by_hand(query, key, temperature, negatives))


def test_info_nce_without_negatives_is_bit_by_bit_that_with_none():
    query, key = torch.randn(2, 16, 8)
    plain = info_nce(query, key, 0.2)
    assert torch.equal(info_nce(query, key, 0.2, negatives=None), plain)
    assert torch.equal(info_nce(query, key, 0.2, negatives=torch.empty(0, 8)), plain)


@settings(deadline=None, max_examples=25)
@given(
    teacher=st.integers(1, 3),
    student=st.integers(1, 3),
    batch=st.integers(1, 4),
    size=st.integers(1, 6),
    temperature=st.floats(0.1, 2.0),
    seed=st.integers(0, 99),
)
def test_queue_contrast_of_every_pair_is_its_equation(teacher, student, batch, size, temperature, seed):
    queries, keys = directions(student, batch, 3, seed=seed), directions(teacher, batch, 3, seed=seed + 1)
    negatives = directions(size, 3, seed=seed + 2)
    pairs = queue_contrast(queries, keys, negatives, temperature)
    assert pairs.shape == (teacher, student)
    for t in range(teacher):
        for s in range(student):
            by_hand = queue_contrast_by_hand(queries[s], keys[t], negatives, temperature)
            assert pairs[t, s].item() == pytest.approx(by_hand)


@pytest.mark.parametrize(("own", "other", "known"), [(1, 1, 11.090370), (1, 0, 6.092617), (1, -1, 1.380108)])
def test_queue_contrast_of_65536_negatives_gives_the_known_numbers(own, other, known):
    query = torch.tensor([[[1.0, 0]]])
    key, negative = own * query, torch.tensor([other, math.sqrt(1 - other**2)])
    assert queue_contrast(query, key, negative.expand(65_536, 2), 0.2).item() == pytest.approx(known, abs=3e-6)


@pytest.mark.parametrize("closeness", [1.0, 0.5, 0.0])
def test_queue_contrast_with_random_negatives_starts_at_the_level_of_chance(closeness):
    queries, negatives = directions(1, 8, 256, dtype=torch.float32), directions(65_536, 256, seed=1).float()
    keys = closeness * queries + math.sqrt(1 - closeness**2) * across(queries)
    chance = math.log(65_537) + 1 / (2 * 256 * 0.2**2) - closeness / 0.2
    assert queue_contrast(queries, keys, negatives, 0.2).item() == pytest.approx(chance, abs=0.02)


def across(rows):
    """Unit vectors at right angles to these."""
    others = directions(*rows.shape, seed=2, dtype=rows.dtype)
    return torch.nn.functional.normalize(others - (others * rows).sum(-1, keepdim=True) * rows, dim=-1)


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


def test_queues_take_no_gradient_and_queries_that_of_finite_differences():
    queries, keys, negatives = (directions(2, 3, 4, seed=seed).requires_grad_() for seed in range(3))
    queue_contrast(queries, keys, negatives[0], 0.5).sum().backward()
    info_nce(queries[0], keys[0], 0.5, negatives=negatives[0]).backward()
    assert keys.grad is None
    assert negatives.grad is None
    assert torch.autograd.gradcheck(lambda p: queue_contrast(p, keys, negatives[0], 0.5), (queries,))
    assert torch.autograd.gradcheck(lambda p: info_nce(p, keys[0], 0.5, negatives=negatives[0]), (queries[0],))


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


def test_queue_contrast_is_taken_in_full_precision_inside_autocast():
    queries, keys, negatives = torch.randn(3, 2, 32, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = queue_contrast(queries, keys, negatives[0], 0.2)
    assert torch.equal(inside, queue_contrast(queries, keys, negatives[0], 0.2))
    assert queue_contrast(queries.bfloat16(), keys.bfloat16(), negatives[0], 0.2).dtype == torch.float32


def test_half_precision_features_give_a_full_precision_loss():
    assert nt_xent(torch.randn(2, 4, 8).bfloat16(), 0.1).dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["info_nce", "nt_xent", "queue_contrast"])
def test_two_ranks_have_the_loss_and_gradients_of_one(ranks, loss):
    ranks.agree(loss)
