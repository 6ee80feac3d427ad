import pytest
import torch
from sslcli_byol.loss import Bootstrap, squared_distances
from sslcli_byol.options import BootstrapOptions
from torch import nn
from torch.nn.functional import normalize

from sslcli.api import ViewShape
from sslcli.errors import UserError
from sslcli.nn import Features, Momentum
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

VIEWS = {"global": ViewShape(2, 16), "local": ViewShape(1, 8)}


def build(views=VIEWS, **options):
    context = make_context(views)
    torch.manual_seed(3)
    return Bootstrap(
        BootstrapOptions(**{"hidden": 8, "output": 4, **options}), with_backbone(context, make_backbone(context))
    )


def make_features(pooled):
    """Features whose pooled vectors are given."""
    return Features(pooled[..., None, :], pooled[..., None, :], 1, pooled)


def by_hand(online, target):
    """Twice the mean of |o - t|^2 over unit vectors and pairs of crops of different numbers."""
    pairs = [(a, b) for a in range(len(online)) for b in range(len(target)) if a != b]
    terms = [(normalize(online[a], dim=-1) - normalize(target[b], dim=-1)).pow(2).sum(-1).mean() for a, b in pairs]
    return 2 * sum(terms) / len(terms)


def test_known_angles_have_known_distances():
    online = torch.tensor([[[3.0, 0], [0, 2]]])
    target = torch.tensor([[[1.0, 0], [0, 1]], [[0, 5], [5, 0]], [[-1, 0], [0, -1]]])
    torch.testing.assert_close(squared_distances(online, target), torch.tensor([[0.0], [2.0], [4.0]]))


@pytest.mark.parametrize("local", ["", "local"])
def test_the_loss_is_its_equation_from_features_to_scalar(local):
    loss, step = build(local_views=local), make_step(VIEWS)
    studied = filter(None, ("global", local))
    online = [loss.predictor(loss.projector.online(crop)) for v in studied for crop in step.student(v).pooled]
    target = [loss.projector.target(crop) for crop in step.teacher("global").pooled]
    torch.testing.assert_close(loss(step), by_hand(online, target))


def test_two_crops_give_the_sum_over_both_orders():
    loss, step = build(), make_step(VIEWS)
    one, two = loss.predictions(step.student("global"))
    first, second = loss.projections(step.teacher("global"))
    cosines = nn.functional.cosine_similarity(one, second) + nn.functional.cosine_similarity(two, first)
    torch.testing.assert_close(loss(step), 4 - 2 * cosines.mean())


def test_the_student_and_its_heads_learn_and_the_teacher_does_not():
    loss, step = build(), make_step(VIEWS)
    loss(step).backward()
    learning = (*loss.projector.online.parameters(), *loss.predictor.parameters())
    assert all(p.grad is not None for p in learning)
    assert all(p.grad is None for p in (*loss.projector.target.parameters(), *step.teacher_backbone.parameters()))


def test_the_teacher_has_a_projector_and_no_predictor():
    assert [name for name, module in build().named_modules() if isinstance(module, Momentum)] == ["projector"]


def test_each_crop_is_normalised_on_its_own():
    loss, pooled = build(), torch.randn(2, 6, 32)
    far = pooled + torch.tensor([0.0, 100.0])[:, None, None]
    first, second = (loss.predictions(make_features(crops))[0] for crops in (pooled, far))
    torch.testing.assert_close(first, second)


def test_the_heads_have_their_published_sizes():
    context = make_context(VIEWS, width=2048)
    with torch.device("meta"):
        loss = Bootstrap(BootstrapOptions(), context)
    sizes = [sum(p.numel() for p in head.parameters()) for head in (loss.projector.online, loss.predictor)]
    assert sizes == [9_449_472, 2_109_440]


def test_the_loss_is_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(make_step(VIEWS)).dtype == torch.float32


def test_a_single_crop_is_refused():
    with pytest.raises(UserError, match="nothing to compare"):
        build({"global": ViewShape(1, 16)})
