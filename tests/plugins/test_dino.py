import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from sslcli_dino.dino import SelfDistillation
from sslcli_dino.options import DinoOptions
from torch import nn

from sslcli.api import Context, Progress, Schedule, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Momentum, update_all
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

VIEWS = {"global": ViewShape(2, 16), "local": ViewShape(3, 8)}
SMALL = {"prototypes": 5, "hidden": 8, "bottleneck": 4, "local_views": "local"}
SCRIPT = Path(__file__).with_name("dino_two_ranks.py")


def build(views=VIEWS, **options):
    context = make_context(views)
    torch.manual_seed(3)
    return SelfDistillation(DinoOptions(**{**SMALL, **options}), with_backbone(context, make_backbone(context)))


def by_hand(student, teacher, centre, warm, cold):
    """DINO's loss, number by number: `student [S][B][K]`, `teacher [T][B][K]`, temperatures `warm` and `cold`."""
    terms = []
    for number, crop in enumerate(teacher):
        for other, guess in enumerate(student):
            if number == other:
                continue
            for row, said in zip(crop, guess):
                sharp = [math.exp((g - c) / warm) for g, c in zip(row, centre)]
                flat = [math.exp(g / cold) for g in said]
                terms.append(-sum(q / sum(sharp) * math.log(p / sum(flat)) for q, p in zip(sharp, flat)))
    return sum(terms) / len(terms)


def logits(loss, step):
    """What student and teacher say, as lists."""
    student = [loss.head.online(step.student(view).cls) for view in ("global", "local")]
    return torch.cat(student).tolist(), loss.head.target(step.teacher("global").cls).tolist()


class Constant(nn.Module):
    """A head that always says the same."""

    def __init__(self, row):
        super().__init__()
        self.row = row

    def forward(self, features):
        return self.row.expand(*features.shape[:-1], -1)


def test_the_loss_is_its_equation_from_features_to_scalar():
    loss, step = build(), make_step(VIEWS)
    loss.centre.mean.copy_(torch.randn(5))
    known = by_hand(*logits(loss, step), loss.centre.mean.tolist(), 0.04, 0.1)
    assert loss(step).item() == pytest.approx(known, rel=1e-4)


def test_a_rising_temperature_is_that_of_the_epoch():
    rise = Schedule(start=0.04, end=0.08, schedule="linear", epochs=3, per="epoch", reaches_end=True)
    loss = build()
    loss.options = loss.options.model_copy(update={"teacher_temperature": rise})
    for epoch, temperature in enumerate((0.04, 0.06, 0.08, 0.08)):
        step = replace(make_step(VIEWS), progress=Progress(10 * epoch + 4, 40, 10))
        assert loss(step).item() == pytest.approx(by_hand(*logits(loss, step), [0] * 5, temperature, 0.1), rel=1e-4)


def test_a_student_that_cannot_decide_is_at_ln_k_whatever_the_teacher_says():
    loss = build(norm_last_layer=False, prototypes=7)
    nn.init.zeros_(loss.head.online.last.magnitude)
    assert loss(make_step(VIEWS)).item() == pytest.approx(math.log(7), rel=1e-5)


def test_every_pair_weighs_the_same_and_a_crop_is_not_compared_with_itself():
    weights = build().weights
    assert weights.tolist() == [
        [0, *[pytest.approx(1 / 8)] * 4],
        [pytest.approx(1 / 8), 0, *[pytest.approx(1 / 8)] * 3],
    ]


def test_without_small_crops_the_two_large_ones_are_compared():
    loss, step = build(local_views=""), make_step({"global": VIEWS["global"]})
    student, teacher = (role("global").cls for role in (step.student, step.teacher))
    known = by_hand(loss.head.online(student).tolist(), loss.head.target(teacher).tolist(), [0] * 5, 0.04, 0.1)
    assert loss(step).item() == pytest.approx(known, rel=1e-4)


def test_the_teacher_may_see_crops_of_its_own():
    views = {**VIEWS, "weak": ViewShape(2, 16)}
    loss, step = build(views, teacher_views="weak"), make_step(views)
    student, _ = logits(loss, step)
    teacher = loss.head.target(step.teacher("weak").cls).tolist()
    assert loss(step).item() == pytest.approx(by_hand(student, teacher, [0] * 5, 0.04, 0.1), rel=1e-4)


def test_the_centre_of_a_teacher_that_always_says_r_is_r_less_a_power_of_the_momentum():
    loss, row = build(), torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    loss.head.target = Constant(row)
    for steps in range(1, 5):
        step = make_step(VIEWS)
        loss(step)
        loss.after_step(step)
        torch.testing.assert_close(loss.centre.mean, (1 - 0.9**steps) * row)


def test_the_centre_moves_after_the_step_and_not_in_it():
    loss, step = build(), make_step(VIEWS)
    loss(step)
    assert not loss.centre.mean.any()
    loss.after_step(step)
    torch.testing.assert_close(loss.centre.mean, 0.1 * loss.head.target(step.teacher("global").cls).mean((0, 1)))


def test_the_student_and_its_head_learn_and_the_teacher_does_not():
    loss, step = build(norm_last_layer=False), make_step(VIEWS)
    loss(step).backward()
    assert all(p.grad is not None for p in (*loss.head.online.parameters(), *step.backbone.parameters()))
    assert all(p.grad is None for p in (*loss.head.target.parameters(), *step.teacher_backbone.parameters()))


def test_its_head_follows_the_student():
    loss = build()
    nn.init.ones_(loss.head.online.last.direction)
    nn.init.zeros_(loss.head.target.last.direction)
    update_all(loss, 0.99)
    torch.testing.assert_close(loss.head.target.last.direction, torch.full((5, 4), 0.01))
    assert [name for name, module in loss.named_modules() if isinstance(module, Momentum)] == ["head"]


def test_prototypes_of_unit_length_stay_so_and_others_learn_their_length():
    assert not build(norm_last_layer=True).head.online.last.magnitude.requires_grad
    assert build(norm_last_layer=False).head.online.last.magnitude.requires_grad


def test_the_head_of_a_vit_small_has_its_published_size():
    with torch.device("meta"):
        loss = SelfDistillation(DinoOptions(), Context(width=384, views={"global": ViewShape(2, 224)}))
    layers = 384 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 256 + 256
    assert sum(p.numel() for p in loss.head.online.parameters()) == layers + 65536 * 256 + 65536


def test_the_loss_is_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(make_step(VIEWS)).dtype == torch.float32


def test_what_it_logs_tells_a_collapse():
    loss, step = build(), make_step(VIEWS)
    loss.head.target = Constant(torch.tensor([9.0, 0, 0, 0, 0]))
    loss(step)
    assert step.logs["prototype_entropy"].item() == pytest.approx(0, abs=1e-4)
    assert not step.limits["prototype_entropy"].holds(step.logs["prototype_entropy"].item())


@pytest.mark.parametrize("temperature", [0.0, -0.1, {"start": 0.0, "end": 0.07}])
def test_a_temperature_of_zero_is_refused(temperature):
    with pytest.raises(ValidationError, match="must be above 0"):
        DinoOptions(teacher_temperature=temperature)


def test_a_single_crop_is_refused():
    with pytest.raises(UserError, match="nothing to compare"):
        build({"global": ViewShape(1, 16)}, local_views="")


def test_it_reads_large_and_small_crops_by_the_student_and_large_ones_by_the_teacher():
    reads = DinoOptions(local_views="local").reads()
    assert (reads.student, reads.teacher, reads.images) == (("global", "local"), ("global",), ())


@pytest.mark.slow
def test_two_ranks_have_the_losses_gradients_and_centres_of_one(run_ranks, tmp_path):
    one, two = run_ranks(SCRIPT, tmp_path)
    assert {"dino.1.loss", "ibot.1.loss", "ibot.1.mask_token", "ibot.1.patch_centre.mean"} < one.keys()
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-8)  # positions are resized in 32 bits
