import json
import math
from itertools import product
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from sslcli_relic.likelihood import log_likelihoods, relic_terms
from sslcli_relic.loss import Relic, Relicv2
from sslcli_relic.negatives import draw_others
from sslcli_relic.options import RelicOptions, Relicv2Options
from torch import nn

from sslcli.api import ViewShape
from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.nn import Momentum, info_nce, sample_uniform, update_all
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

SCRIPT = Path(__file__).with_name("relic_two_ranks.py")
VIEWS = {"global": ViewShape(2, 16), "local": ViewShape(1, 8)}
SMALL = {"hidden": 8, "output": 4}


def rows(*values):
    return torch.tensor(values, dtype=torch.float64)


O3, T3 = rows([1, 0], [0.6, 0.8], [0, 1]), rows([0.8, 0.6], [0, 1], [-1, 0])  # three images in the plane
O4 = rows([1, 2, 2], [2, -1, 0], [0, 3, 4], [-1, 0, 1])  # four, of any length
T4, N4 = rows([2, 2, 1], [1, -1, 1], [0, 1, 0], [-2, 1, 2]), torch.tensor([[1, 3], [0, 2], [3, 1], [2, 0]])
OA, OB, OS = rows([1, 0], [0, 1]), rows([0.8, 0.6], [-0.6, 0.8]), rows([0.6, -0.8], [0, 1])  # two crops and a small one
TA, TB = rows([1, 0], [0.6, 0.8]), rows([0.6, 0.8], [0, 1])


def pair(online, target, negatives=None, temperature=0.5, **options):
    """Both terms of one pair of crops, as numbers."""
    terms = relic_terms(online[None], target[None], negatives, temperature=temperature, **options)
    return tuple(term.item() for term in terms)


def near(*values, tolerance=1e-6):
    return pytest.approx(values if len(values) > 1 else values[0], abs=tolerance)


def by_hand(online, target, candidates, temperature):
    """The terms of a pair, number by number: lists of unit rows, candidates of each image with itself first."""

    def share(row, others, among):
        scores = [math.exp(sum(x * y for x, y in zip(row, others[m])) / temperature) for m in among]
        return [score / sum(scores) for score in scores]

    contrast, invariance = [], []
    for image, among in enumerate(candidates):
        p, q = share(online[image], target, among), share(target[image], online, among)
        contrast.append(-math.log(p[0]))
        invariance.append(sum(x * math.log(x / y) for x, y in zip(p, q)))
    return sum(contrast) / len(contrast), sum(invariance) / len(invariance)


def build(code=Relicv2, views=VIEWS, **options):
    context = make_context(views)
    torch.manual_seed(3)
    table = RelicOptions if code is Relic else Relicv2Options
    return code(table(**{**SMALL, **options}), with_backbone(context, make_backbone(context)))


@pytest.mark.parametrize(("temperature", "value"), [(0.3, 0.035052), (0.1, 0.000045), (0.2, 0.006715), (1, 0.313262)])
@pytest.mark.parametrize("online", [rows([1, 0], [0, 1]), rows([3, 0], [0, 0.5])])
def test_two_orthogonal_images_have_the_known_contrast_whatever_their_length(temperature, value, online):
    assert pair(online, rows([1, 0], [0, 1]), temperature=temperature) == near(value, 0)


def test_three_images_have_the_known_likelihoods():
    p = log_likelihoods(O3[None], T3[None], torch.tensor([[0, 1, 2], [1, 0, 2], [2, 0, 1]]), 0.5).exp()[0, 0]
    known = rows([0.813524, 0.164248, 0.022229], [0.410183, 0.564874, 0.024943], [0.085403, 0.283548, 0.631049])
    torch.testing.assert_close(p, known, atol=1e-6, rtol=0)


def test_all_others_as_negatives_give_the_known_terms():
    contrast, invariance = pair(O3, T3)
    assert (contrast, invariance) == near(1.185968, 0.818172)
    assert 0.3 * contrast + 3 * invariance == near(2.810307)


def test_drawn_negatives_give_the_known_terms():
    assert pair(O3, T3, torch.tensor([[2], [0], [1]])) == near(1.006593, 0.595388)
    assert pair(O3, T3, torch.tensor([[2, 1], [0, 2], [1, 0]])) == near(*pair(O3, T3), tolerance=1e-12)


def test_vectors_are_made_of_unit_length_within():
    contrast, invariance = pair(O4, T4, N4, temperature=0.3)
    assert (contrast, invariance) == near(0.389327, 0.317215)
    assert 0.3 * contrast + 3 * invariance == near(1.068443)
    assert pair(O4, T4, temperature=0.3) == near(0.570744, 0.299063)


@pytest.mark.parametrize(("negatives", "value"), [(1, 0.693147), (4, 1.609438), (9, 2.302585), (10, 2.397895)])
def test_alike_images_have_the_logarithm_of_the_candidates(negatives, value):
    alike = torch.ones(negatives + 1, 3, dtype=torch.float64)
    others = draw_others(torch.rand(len(alike), negatives), torch.arange(len(alike)), len(alike))
    assert pair(alike, alike, others, temperature=0.3) == near(value, 0)


@pytest.mark.parametrize(
    ("positive", "negative", "count", "temperature", "value"),
    [
        ([1, 0], [0, 1], 10, 0.3, 0.305085),
        ([1, 0], [-1, 0], 10, 0.3, 0.012646),
        ([-1, 0], [1, 0], 10, 0.3, 8.969379),
        ([1, 0], [0, 1], 10, 0.2, 0.065207),
        ([1, 0], [0, 1], 4095, 0.3, 4.991011),
        ([1, 0], [1, 0], 4095, 0.3, 8.317766),
    ],
)
def test_the_contrast_has_its_known_extremes(positive, negative, count, temperature, value):
    others = rows(positive, *[negative] * count)
    log_p = log_likelihoods(rows([1, 0])[None], others[None], torch.arange(count + 1)[None], temperature)
    assert -log_p[0, 0, 0, 0].item() == near(value)


def test_random_outputs_begin_a_little_above_the_logarithm_of_the_candidates():
    generator = torch.Generator().manual_seed(0)
    online, target = torch.randn(2, 10_000, 256, generator=generator)
    others = draw_others(torch.rand(10_000, 10, generator=generator), torch.arange(10_000), 10_000)
    assert pair(online, target, others, temperature=0.3)[0] == pytest.approx(2.421, abs=0.01)


def test_the_two_readings_of_the_invariance_have_their_known_values():
    online, target = torch.stack([OA, OB]), torch.stack([TA, TB])
    k1, k2 = (relic_terms(online, target, None, temperature=0.5, invariance=name) for name in ("k1", "k2"))
    assert (k1.invariance[0, 1].item(), k1.invariance[1, 0].item()) == near(0.221144, 0.216296)
    assert k2.invariance[0, 1].item() == near(0.267692)
    assert (k1.contrast[0, 1].item(), k1.contrast[1, 0].item()) == near(0.388149, 0.512321)


def test_a_small_crop_has_the_second_reading_where_the_first_is_asked_for():
    online, target = torch.stack([OA, OB, OS]), torch.stack([TA, TB])
    k1, k2 = (relic_terms(online, target, None, temperature=0.5, invariance=name) for name in ("k1", "k2"))
    torch.testing.assert_close(k1.invariance[2], k2.invariance[2])


@pytest.mark.parametrize("stop_gradient", ["entropy", "p", "none", "q"])
def test_a_crop_that_cannot_change_places_teaches_no_invariance(stop_gradient):
    online = torch.stack([OA, OB]).requires_grad_()
    options = {"temperature": 0.5, "invariance": "k1", "stop_gradient": stop_gradient}
    terms = relic_terms(online, torch.stack([TA, TB]), None, **options)
    terms.invariance.diagonal().sum().backward()
    assert terms.invariance.diagonal().tolist() == [0, 0]
    assert not online.grad.any()


@pytest.mark.parametrize(
    ("stop_gradient", "known"),
    [
        ("entropy", [[0, -0.536816], [0.425869, -0.319401], [-0.124111, 0]]),
        ("p", [[0, -0.520768], [0.235208, -0.176406], [-0.301689, 0]]),
        ("none", [[0, -0.562919], [0.489044, -0.366783], [-0.093727, 0]]),
        ("q", [[0, -0.042151], [0.253836, -0.190377], [0.207962, 0]]),
    ],
)
def test_what_is_stopped_changes_the_known_gradient_and_no_value(stop_gradient, known):
    online, target = O3.clone().requires_grad_(), T3.clone().requires_grad_()
    terms = relic_terms(online[None], target[None], None, temperature=0.5, stop_gradient=stop_gradient)
    terms.invariance.sum().backward()
    assert terms.invariance.item() == near(0.818172)
    torch.testing.assert_close(online.grad, rows(*known), atol=1e-5, rtol=0)
    assert target.grad is None


def test_the_contrast_has_its_known_gradient():
    online = O3.clone().requires_grad_()
    relic_terms(online[None], T3[None], None, temperature=0.5).contrast.sum().backward()
    known = rows([0, 0.034908], [0.262454, -0.196840], [0.760957, 0])
    torch.testing.assert_close(online.grad, known, atol=1e-5, rtol=0)


@pytest.mark.parametrize("negatives", [None, N4])
def test_the_gradient_where_nothing_is_stopped_is_that_of_finite_differences(negatives):
    def total(online):
        terms = relic_terms(online, torch.stack([T4, O4]), negatives, temperature=0.5, stop_gradient="none")
        return terms.contrast.sum() + terms.invariance.sum()

    assert torch.autograd.gradcheck(total, (torch.stack([O4, T4, O4 - 1]).requires_grad_(),))


def test_every_pair_of_crops_has_its_known_terms():
    terms = relic_terms(torch.stack([OA, OB, OS]), torch.stack([TA, TB]), None, temperature=0.5)
    contrast = rows([0.277501, 0.388149], [0.512321, 0.349627], [0.171325, 0.407838])
    invariance = rows([0.127697, 0.267692], [0.986177, 0.042307], [0.020822, 0.964473])
    torch.testing.assert_close(terms.contrast, contrast, atol=1e-6, rtol=0)
    torch.testing.assert_close(terms.invariance, invariance, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("same_crop", "total"), [(True, 1.309923), (False, 1.790346)])
def test_the_mean_over_pairs_is_known_with_and_without_those_of_one_number(same_crop, total):
    weights = build(local_views="local", same_crop=same_crop).weights.double()
    terms = relic_terms(torch.stack([OA, OB, OS]), torch.stack([TA, TB]), None, temperature=0.5)
    assert (weights * (0.3 * terms.contrast + 3 * terms.invariance)).sum().item() == near(total)


def test_terms_of_many_crops_are_those_of_a_plain_loop():
    generator = torch.Generator().manual_seed(1)
    online = nn.functional.normalize(torch.randn(3, 6, 4, generator=generator, dtype=torch.float64), dim=-1)
    target = nn.functional.normalize(torch.randn(2, 6, 4, generator=generator, dtype=torch.float64), dim=-1)
    others = draw_others(torch.rand(6, 3, generator=generator), torch.arange(6), 6)
    terms = relic_terms(online, target, others, temperature=0.3)
    candidates = [[image, *drawn] for image, drawn in enumerate(others.tolist())]
    for a, b in product(range(3), range(2)):
        known = by_hand(online[a].tolist(), target[b].tolist(), candidates, 0.3)
        assert (terms.contrast[a, b].item(), terms.invariance[a, b].item()) == near(*known, tolerance=1e-12)


def test_the_order_of_the_batch_does_not_matter():
    order = torch.tensor([2, 0, 3, 1])
    place = order.argsort()
    moved = pair(O4[order], T4[order], place[N4[order]])
    assert moved == near(*pair(O4, T4, N4), tolerance=1e-12)


def test_turning_all_outputs_alike_changes_nothing():
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    assert pair(O4 @ turn, T4 @ turn, N4) == near(*pair(O4, T4, N4), tolerance=1e-12)


def test_drawn_rows_are_others_without_repeats():
    own = torch.arange(50).repeat(40)
    drawn = draw_others(torch.rand(2000, 10), own, 50)
    assert (drawn != own[:, None]).all()
    assert (drawn.sort(dim=1).values.diff(dim=1) > 0).all()
    assert (drawn.min().item(), drawn.max().item()) == (0, 49)


def test_every_other_row_is_drawn_as_often():
    draws = 60_000
    numbers = torch.rand(draws, 3, generator=torch.Generator().manual_seed(0))
    drawn = draw_others(numbers, torch.full((draws,), 2), 9)
    frequency = drawn.flatten().bincount(minlength=9) / draws
    torch.testing.assert_close(frequency, torch.tensor([3 / 8] * 2 + [0.0] + [3 / 8] * 6), atol=0.01, rtol=0)


def test_every_set_of_rows_is_drawn_as_often():
    drawn = draw_others(
        torch.rand(60_000, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(60_000).long(), 5
    )
    sets = (2**drawn).sum(dim=1).bincount()
    assert (sets[sets > 0] / 60_000).tolist() == pytest.approx([1 / 6] * 6, abs=0.01)


def test_all_others_are_drawn_where_as_many_are_asked_for():
    drawn = draw_others(torch.rand(5, 4), torch.arange(5), 5)
    assert [sorted(row) for row in drawn.tolist()] == [[j for j in range(5) if j != i] for i in range(5)]


def test_images_of_another_rank_are_drawn_by_their_row_among_all():
    numbers = torch.rand(8, 3)
    whole = draw_others(numbers, torch.arange(8), 8)
    assert torch.equal(draw_others(numbers[4:], torch.arange(4, 8), 8), whole[4:])


def test_negatives_belong_to_the_sample_and_change_with_the_epoch():
    loss, step = build(negatives=2), make_step(VIEWS)
    again = make_step(VIEWS, columns={"epoch": torch.ones(6, dtype=torch.int64)})
    assert torch.equal(loss.negatives(step, 6), loss.negatives(step, 6))
    assert not torch.equal(loss.negatives(step, 6), loss.negatives(again, 6))


@pytest.mark.parametrize("negatives", [0, "all", 5, 10])
def test_all_others_are_negatives_where_the_recipe_or_the_batch_says_so(negatives):
    assert build(negatives=negatives).negatives(make_step(VIEWS), 6) is None


def test_the_loss_is_its_equation_from_features_to_scalar():
    loss, step = build(local_views="local", negatives=3), make_step(VIEWS)
    crops = [crop for view in ("global", "local") for crop in step.student(view).pooled]
    online = [nn.functional.normalize(loss.predictor(loss.projector.online(crop)), dim=-1).tolist() for crop in crops]
    taught = step.teacher("global").pooled
    target = [nn.functional.normalize(loss.projector.target(crop), dim=-1).tolist() for crop in taught]
    numbers = sample_uniform(0, step.column("epoch"), step.column("index"), "/negatives", (3,))
    drawn = draw_others(numbers, torch.arange(6), 6)
    candidates = [[image, *others] for image, others in enumerate(drawn.tolist())]
    terms = [by_hand(a, b, candidates, 0.3) for a, b in product(online, target)]
    known = sum(0.3 * contrast + 3 * invariance for contrast, invariance in terms) / 6
    assert loss(step).item() == pytest.approx(known, rel=1e-4)
    assert step.logs["contrast"].item() == pytest.approx(sum(contrast for contrast, _ in terms) / 6, rel=1e-4)


def test_without_invariance_it_is_the_contrast_of_moco_v3():
    options = {"alpha": 1.0, "beta": 0.0, "negatives": "all", "same_crop": False}
    loss, step = build(**options), make_step(VIEWS)
    o, t = loss.outputs(step.student("global")), loss.targets(step.teacher("global"))
    torch.testing.assert_close(loss(step), (info_nce(o[0], t[1], 0.3) + info_nce(o[1], t[0], 0.3)) / 2)


def test_version_1_compares_the_two_orders_of_two_crops_with_all_others():
    loss, step = build(Relic, alpha=2.0), make_step(VIEWS)
    o = nn.functional.normalize(loss.outputs(step.student("global")), dim=-1)
    t = nn.functional.normalize(loss.targets(step.teacher("global")), dim=-1)
    log_p, log_q = (o[0] @ t[1].T / 0.3).log_softmax(1), (o[1] @ t[0].T / 0.3).log_softmax(1)
    contrast = -(log_p.diagonal() + log_q.diagonal()).mean() / 2
    invariance = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(1).mean() / 2
    torch.testing.assert_close(loss(step), contrast + 2 * invariance)


@pytest.mark.parametrize("code", [Relic, Relicv2])
def test_the_student_and_its_heads_learn_and_the_teacher_does_not(code):
    loss, step = build(code), make_step(VIEWS)
    loss(step).backward()
    learning = (*loss.projector.online.parameters(), *loss.predictor.parameters())
    assert all(p.grad is not None for p in learning)
    assert all(p.grad is None for p in (*loss.projector.target.parameters(), *step.teacher_backbone.parameters()))


def test_a_teacher_that_stands_still_keeps_its_projector_bit_by_bit():
    loss = build()
    before = loss.projector.target[0].weight.clone()
    nn.init.ones_(loss.projector.online[0].weight)
    update_all(loss, 1.0)
    assert torch.equal(loss.projector.target[0].weight, before)


def test_the_teacher_has_a_projector_and_no_predictor():
    assert [name for name, module in build().named_modules() if isinstance(module, Momentum)] == ["projector"]


def test_the_heads_have_the_sizes_of_byol():
    with torch.device("meta"):
        loss = Relicv2(Relicv2Options(), make_context(VIEWS, width=2048))
    sizes = [sum(p.numel() for p in head.parameters()) for head in (loss.projector.online, loss.predictor)]
    assert sizes == [9_449_472, 2_109_440]


def test_the_loss_is_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(make_step(VIEWS)).dtype == torch.float32


def test_a_single_crop_is_refused():
    with pytest.raises(UserError, match="nothing to compare"):
        build(views={"global": ViewShape(1, 16)})


def test_a_batch_of_one_is_refused():
    with pytest.raises(UserError, match="no negatives"):
        Relicv2(Relicv2Options(**SMALL), make_context(VIEWS, width=8, batch_size=1))


def test_crops_that_cannot_change_places_are_refused():
    with pytest.raises(ValidationError, match="same large crops"):
        Relicv2Options(invariance="k1", teacher_views="other")


@pytest.mark.slow
def test_two_ranks_have_the_losses_and_gradients_of_one(run_ranks, tmp_path):
    one, two = run_ranks(SCRIPT, tmp_path)
    assert {"k1.loss", "k2.loss", "k2.student.weight", "all.loss", "relic.loss", "byol.loss"} < one.keys()
    torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_a_few_pictures_are_told_apart_without_collapse(tiny_recipe, tmp_path):
    """The contrast leaves ln 11 for that of orthogonal negatives, and outputs keep to no common direction."""
    loss = {"name": "relicv2", "hidden": 64, "output": 16, "temperature": 0.3, "alpha": 1.0, "beta": 1.0}
    recipe = tiny_recipe(
        loss=[loss],
        backbone={"name": "resnet", "model": "test_resnet"},
        views={"global": {"size": 32, "scale": [0.5, 1.0]}},
        teacher={"momentum": 0.9},
        optimizer={"lr": 3e-3},
        train={"epochs": 50.0, "batch_size": 24, "log_every_steps": 8, "crops_together": False},
        sentinel={"every_steps": 20},
    )
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    contrasts = [record["relicv2/contrast"] for record in records if "relicv2/contrast" in record]
    assert contrasts[0] > 1.5
    assert contrasts[-1] < 1.2
