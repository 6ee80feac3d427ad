import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from sslcli.api import Progress
from sslcli.nn import Centre, PrototypeHead, Step, cross_entropy, log_prototypes, pair_cross_entropy
from sslcli.nn.prototypes import ALL_PROTOTYPES, ONE_PROTOTYPE, Prototypes

FEW = settings(deadline=None, max_examples=25)


def random_shares(*shape, seed=0, dtype=torch.float32):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 3).softmax(-1)


def cross_entropy_by_hand(logits, shares, temperature):
    """- sum_m q_m log softmax(z / tau)_m of one row."""
    below = sum(math.exp(logit / temperature) for logit in logits.tolist())
    return -sum(q * math.log(math.exp(z / temperature) / below) for q, z in zip(shares.tolist(), logits.tolist()))


def prepare_step():
    return Step(None, None, Progress(0, 1, 1), 0, {}, {}, encode_student=None, encode_teacher=None, scope="group")


@pytest.fixture
def layer():
    """A layer of prototypes that does not lie at its start, and PyTorch's weight-normed layer like it."""
    own, other = Prototypes(4, 9), weight_norm(nn.Linear(4, 9, bias=False))
    with torch.no_grad():
        own.magnitude.uniform_(0.5, 2.0)
        own.direction *= 3
        other.parametrizations.weight.original0.copy_(own.magnitude)
        other.parametrizations.weight.original1.copy_(own.direction)
    return own, other


def test_prototypes_are_a_weight_normed_layer(layer):
    own, other = layer
    vectors = torch.randn(2, 5, 4)
    torch.testing.assert_close(own(vectors), other(vectors))


def test_their_gradients_are_those_of_a_weight_normed_layer(layer):
    own, other = layer
    vectors = torch.randn(5, 4)
    for module in layer:
        module(vectors).square().sum().backward()
    torch.testing.assert_close(own.magnitude.grad, other.parametrizations.weight.original0.grad)
    torch.testing.assert_close(own.direction.grad, other.parametrizations.weight.original1.grad)


def test_fresh_prototypes_give_cosines():
    vectors, layer = F.normalize(torch.randn(5, 4), dim=1), Prototypes(4, 9)
    by_hand = [[F.cosine_similarity(v, d, dim=0) for d in layer.direction.detach()] for v in vectors]
    torch.testing.assert_close(layer(vectors).detach(), torch.tensor(by_hand))


def test_unit_prototypes_keep_their_magnitude_for_ever():
    layer = Prototypes(4, 9, unit=True)
    layer(torch.randn(5, 4)).square().sum().backward()
    assert layer.magnitude.grad is None
    assert layer.direction.grad is not None
    assert (layer.magnitude == 1).all()


@pytest.mark.parametrize(("width", "projector"), [(384, 5_509_376), (768, 6_295_808), (1024, 6_820_096)])
def test_the_group_head_of_mugs_has_its_published_sizes(width, projector):
    with torch.device("meta"):
        head = PrototypeHead(width, 65_536)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (head.projector, head.last)]
    assert sizes == [projector, 16_842_752]


def test_a_head_ends_in_unit_vectors_and_has_biases_and_no_norms():
    head = PrototypeHead(6, 9, hidden=8, bottleneck=4)
    kinds = [type(module).__name__ for module in head.projector]
    assert kinds == ["Linear", "GELU", "Linear", "GELU", "Linear"]
    assert all(not layer.bias.any() for layer in head.projector if isinstance(layer, nn.Linear))
    assert head(torch.randn(3, 5, 6) * 1000).abs().max() <= 1 + 1e-6  # cosines


def test_logits_are_taken_in_full_precision_inside_autocast():
    vectors, layer = F.normalize(torch.randn(5, 64), dim=1), Prototypes(64, 9)
    with torch.autocast("cpu", torch.bfloat16):
        inside = layer(vectors)
    assert torch.equal(inside, layer(vectors))


def test_uniform_student_and_teacher_are_at_ln_65536():
    logits, shares = torch.zeros(1, 2, 65_536), torch.full((1, 2, 65_536), 1 / 65_536)
    assert pair_cross_entropy(logits, shares, 0.1).item() == pytest.approx(11.090355, abs=2e-6)
    assert cross_entropy(logits, shares, 0.1)[0, 0].item() == pytest.approx(11.090355, abs=2e-6)


@FEW
@given(
    teacher=st.integers(1, 3),
    student=st.integers(1, 4),
    batch=st.integers(1, 4),
    temperature=st.floats(0.05, 1.0),
    seed=st.integers(0, 99),
)
def test_the_loss_of_every_pair_is_its_equation(teacher, student, batch, temperature, seed):
    logits = torch.randn(student, batch, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shares = random_shares(teacher, batch, 7, seed=seed, dtype=torch.float64)
    pairs = pair_cross_entropy(logits, shares, temperature)
    assert pairs.shape == (teacher, student)
    for t in range(teacher):
        for s in range(student):
            rows = [cross_entropy_by_hand(logits[s, b], shares[t, b], temperature) for b in range(batch)]
            assert pairs[t, s].item() == pytest.approx(sum(rows) / batch)


def test_the_loss_of_rows_is_that_of_pytorch():
    logits, shares = torch.randn(5, 7), random_shares(5, 7)
    by_torch = F.cross_entropy(logits / 0.1, shares, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, shares, 0.1), by_torch)


def test_the_gradient_of_the_pairs_is_that_of_finite_differences():
    logits = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    shares = random_shares(2, 2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: pair_cross_entropy(z, shares, 0.3), (logits,))


def test_losses_are_taken_in_full_precision_inside_autocast():
    logits, shares = torch.randn(3, 4, 65), random_shares(2, 4, 65)
    with torch.autocast("cpu", torch.bfloat16):
        inside = pair_cross_entropy(logits, shares, 0.1)
    assert torch.equal(inside, pair_cross_entropy(logits, shares, 0.1))
    assert pair_cross_entropy(logits.bfloat16(), shares, 0.1).dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.04, 0.07])
def test_a_fresh_head_of_65536_starts_where_random_cosines_do(temperature):
    torch.manual_seed(0)
    head, centre = PrototypeHead(32, 65_536, hidden=64), Centre(65_536)
    with torch.no_grad():
        logits = head(torch.randn(2, 8, 32))
    loss = pair_cross_entropy(logits, centre(logits, temperature), 0.1).diag().mean()
    chance = math.log(65_536) + 1 / (2 * 256 * 0.1**2) - 1 / (256 * 0.1 * temperature)  # cosines vary by 1 / 256
    assert loss.item() == pytest.approx(chance, abs=0.06)


def test_the_teacher_is_centred_then_sharpened():
    centre, logits = Centre(3), torch.tensor([[[1.0, 2, 3]], [[0, 0, 9.0]]])
    centre.mean.copy_(torch.tensor([0.5, 0, 1]))
    by_hand = torch.exp((logits - torch.tensor([0.5, 0, 1])) / 0.7)
    torch.testing.assert_close(centre(logits, 0.7), by_hand / by_hand.sum(-1, keepdim=True))


def test_the_teacher_is_asked_with_the_centre_as_it_was():
    centre, logits = Centre(5), torch.randn(2, 4, 5)
    shares = centre(logits, 0.04)
    torch.testing.assert_close(shares, (logits / 0.04).softmax(-1))
    centre.update(logits)
    assert not torch.allclose(centre(logits, 0.04), shares)


def test_the_teachers_shares_and_the_centre_carry_no_gradient():
    centre, logits = Centre(5), torch.randn(2, 4, 5, requires_grad=True)
    centre.update(logits)
    assert not centre(logits, 0.04).requires_grad
    assert not centre.mean.requires_grad


def test_the_centre_moves_a_tenth_of_the_way_to_the_mean_of_all_rows():
    centre, old, logits = Centre(5), torch.randn(5), torch.randn(2, 4, 5)
    centre.mean.copy_(old)
    centre.update(logits)
    rows = [logits[crop, image] for crop in range(2) for image in range(4)]
    torch.testing.assert_close(centre.mean, 0.9 * old + 0.1 * sum(rows) / 8)


def test_on_constant_rows_the_centre_is_known_after_n_steps():
    centre, row = Centre(3), torch.tensor([1.0, -2, 5])
    for _ in range(7):
        centre.update(row.expand(2, 4, 3))
    torch.testing.assert_close(centre.mean, (1 - 0.9**7) * row)


def test_a_restored_centre_goes_on_exactly():
    centre, restored = Centre(5), Centre(5)
    centre.update(torch.randn(4, 5))
    restored.load_state_dict(centre.state_dict())
    for one in (centre, restored):
        one.update(torch.ones(2, 5).bfloat16())
    assert torch.equal(centre.mean, restored.mean)


def entropies(shares):
    step = prepare_step()
    log_prototypes(step, shares)
    assert step.limits == {"group/prototype_entropy": ONE_PROTOTYPE, "group/image_entropy": ALL_PROTOTYPES}
    return step.logs["group/prototype_entropy"].item(), step.logs["group/image_entropy"].item()


def test_shares_spread_evenly_have_both_entropies_at_one_and_break_their_limit():
    of_all, of_one = entropies(torch.full((2, 4, 16), 1 / 16))
    assert (of_all, of_one) == (pytest.approx(1), pytest.approx(1))
    assert not ALL_PROTOTYPES.holds(of_one)


def test_all_images_on_one_prototype_have_both_entropies_at_zero_and_break_their_limit():
    of_all, of_one = entropies(F.one_hot(torch.full((2, 4), 3), 16).float())
    assert (of_all, of_one) == (0, 0)
    assert not ONE_PROTOTYPE.holds(of_all)


def test_images_on_prototypes_of_their_own_have_the_entropy_of_the_batch_and_none_of_their_own():
    of_all, of_one = entropies(F.one_hot(torch.arange(4).expand(2, 4), 16).float())
    assert of_all == pytest.approx(math.log(4) / math.log(16))
    assert of_one == 0
    assert ONE_PROTOTYPE.holds(of_all)
    assert ALL_PROTOTYPES.holds(of_one)


def test_entropies_are_their_equations():
    shares = random_shares(2, 3, 5)
    mean = sum(shares.flatten(0, 1)) / 6
    own = sum(-sum(q * math.log(q) for q in row.tolist()) for row in shares.flatten(0, 1)) / 6
    of_all, of_one = entropies(shares)
    assert of_all == pytest.approx(-sum(q * math.log(q) for q in mean.tolist()) / math.log(5), rel=1e-5)
    assert of_one == pytest.approx(own / math.log(5), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["centre", "prototypes"])
def test_two_ranks_have_the_centre_and_the_entropies_of_one(ranks, name):
    ranks.agree(name)
