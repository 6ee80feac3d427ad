import math

import pytest
import torch
from sslcli_simclr.loss import SimpleContrast
from sslcli_simclr.options import SimpleContrastOptions
from torch import nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Features, Step


def build(**options):
    torch.manual_seed(0)
    small = {"hidden": 8, "output": 4}
    return SimpleContrast(SimpleContrastOptions(**{**small, **options}), Context(width=6))


def make_step(pooled):
    features = Features(pooled[..., None, :], pooled[..., None, :], 0, pooled)
    return Step(
        backbone=None,
        teacher_backbone=None,
        progress=Progress(0, 10, 5),
        seed=0,
        columns={},
        views={},
        encode_student=lambda view: features,
        encode_teacher=lambda view: pytest.fail("simclr has no teacher"),
    )


@pytest.fixture
def pooled():
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_the_loss_is_that_of_a_loop_over_all_pairs(pooled):
    loss = build(temperature=0.3)
    rows = nn.functional.normalize(
        loss.projector(pooled.detach().flatten(0, 1))
    ).detach()  # row i + 5 is the other crop of row i
    terms = []
    for i in range(10):
        scores = [math.exp(float(rows[i] @ rows[k]) / 0.3) for k in range(10)]
        terms.append(-math.log(scores[(i + 5) % 10] / (sum(scores) - scores[i])))
    assert loss(make_step(pooled)).item() == pytest.approx(sum(terms) / 10, rel=1e-5)


def test_swapping_the_crops_changes_nothing(pooled):
    torch.testing.assert_close(build()(make_step(pooled)), build()(make_step(pooled.flip(0))))


def test_crops_go_through_the_projector_together(pooled):
    seen = []
    loss = build()
    loss.projector.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    loss(make_step(pooled))
    assert seen == [(10, 6)]


def test_features_and_projector_learn(pooled):
    loss = build()
    loss(make_step(pooled)).backward()
    assert pooled.grad.abs().sum() > 0
    assert all(p.grad is not None for p in loss.parameters())


def test_equal_crops_of_different_images_cost_less_than_shuffled_ones(pooled):
    crop = pooled[0].detach()
    alike = build()(make_step(torch.stack([crop, crop])))
    shuffled = build()(make_step(torch.stack([crop, crop.roll(1, 0)])))
    assert alike < shuffled


@pytest.mark.parametrize(
    ("layers", "last_norm", "kinds"),
    [
        (2, "none", ["Linear", "BatchNorm1d", "ReLU", "Linear"]),
        (2, "batch", ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
        (3, "none", ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d", "ReLU", "Linear"]),
    ],
)
def test_the_projector_is_as_the_options_say(layers, last_norm, kinds):
    projector = build(projector_layers=layers, last_norm=last_norm).projector
    assert [type(module).__name__ for module in projector] == kinds


def test_the_loss_is_full_precision_inside_autocast(pooled):
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(make_step(pooled)).dtype == torch.float32


def test_a_group_of_one_crop_is_refused():
    with pytest.raises(UserError, match="one crop") as refused:
        SimpleContrast(SimpleContrastOptions(), Context(width=6, views={"global": ViewShape(1, 32)}))
    assert refused.value.hint == "set views.global.crops = 2"


def test_it_reads_the_student_alone():
    reads = SimpleContrastOptions().reads()
    assert (reads.student, reads.teacher, reads.images) == (("global",), (), ())
