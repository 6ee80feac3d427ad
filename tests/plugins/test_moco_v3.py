import math

import pytest
import torch
from sslcli_moco_v3.loss import MomentumContrast, contrast
from sslcli_moco_v3.options import MomentumContrastOptions
from torch import nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Features, Momentum, Step, info_nce, update_all

Q = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
K = torch.tensor([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1], [1, 1, 0]])
MQ = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 2], [2, 1, 0.0]])
MK = torch.tensor([[1, 1, 0.5], [0.5, 1, 1], [1, 0.5, 1], [1, 0, 0.5]])


def build(**options):
    torch.manual_seed(0)
    small = {"hidden": 8, "output": 4}
    return MomentumContrast(MomentumContrastOptions(**{**small, **options}), Context(width=6))


def group(pooled):
    """Features of a group whose pooled vectors `[crops, B, D]` are given."""
    return Features(pooled[..., None, :], pooled[..., None, :], 1, pooled)


def build_with_queue(queue=40, *, crops=2, batch_size=8, samples=100):
    torch.manual_seed(0)
    context = Context(width=6, views={"global": ViewShape(crops, 32)}, batch_size=batch_size, samples=samples)
    return MomentumContrast(MomentumContrastOptions(hidden=8, output=4, queue=queue), context)


def make_step(student, teacher, owners=None):
    return Step(
        backbone=None,
        teacher_backbone=None,
        progress=Progress(0, 10, 5),
        seed=0,
        columns={} if owners is None else {"index": owners},
        views={},
        encode_student=lambda view: group(student),
        encode_teacher=lambda view: group(teacher),
    )


@pytest.fixture
def step():
    student, teacher = torch.randn(2, 2, 8, 6, generator=torch.Generator().manual_seed(1))
    return make_step(student.requires_grad_(), teacher)


def test_two_crops_give_the_known_loss():
    assert contrast([Q, MQ], [MK, K], 0.2).item() == pytest.approx(0.544732, abs=1e-6)


def test_a_query_is_compared_with_the_key_of_the_other_crop():
    by_hand = 2 * 0.5 * (info_nce(Q, MK, 0.5) + info_nce(MQ, K, 0.5))
    torch.testing.assert_close(contrast([Q, MQ], [K, MK], 0.5), by_hand)


def test_three_crops_weigh_as_much_as_two():
    pairs = [(q, k) for i, q in enumerate((Q, MQ, K)) for j, k in enumerate((MK, K, Q)) if i != j]
    by_hand = 2 * 0.2 * 2 * sum(info_nce(q, k, 0.2) for q, k in pairs) / 6
    torch.testing.assert_close(contrast([Q, MQ, K], [MK, K, Q], 0.2), by_hand)


def test_the_loss_is_its_equation_from_features_to_scalar(step):
    loss = build()
    q1, q2 = (loss.predictor(loss.projector.online(crop)) for crop in step.student("global").pooled)
    k1, k2 = (loss.projector.target(crop) for crop in step.teacher("global").pooled)
    labels = torch.arange(8)

    def ctr(q, k):
        logits = nn.functional.normalize(q) @ nn.functional.normalize(k).T / 0.2
        return nn.functional.cross_entropy(logits, labels) * 2 * 0.2

    torch.testing.assert_close(loss(step), ctr(q1, k2) + ctr(q2, k1))


def test_each_crop_is_normalised_on_its_own(step):
    loss = build()
    queries = loss.queries(step.student("global"))
    for query in queries:
        torch.testing.assert_close(query.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    far = make_step(step.student("global").pooled + torch.tensor([0.0, 100.0])[:, None, None], torch.zeros(2, 8, 6))
    torch.testing.assert_close(loss.queries(far.student("global"))[0], queries[0])


def test_the_student_and_its_heads_learn_and_the_teacher_does_not(step):
    loss = build()
    loss(step).backward()
    assert step.student("global").pooled.grad.abs().sum() > 0
    learning = (*loss.projector.online.parameters(), *loss.predictor.parameters())
    assert all(p.grad is not None for p in learning)
    assert all(p.grad is None for p in loss.projector.target.parameters())


def test_the_teacher_has_a_projector_and_no_predictor():
    pairs = [name for name, module in build().named_modules() if isinstance(module, Momentum)]
    assert pairs == ["projector"]


def test_its_projector_follows_the_student(step):
    loss = build()
    nn.init.ones_(loss.projector.online[0].weight)
    nn.init.zeros_(loss.projector.target[0].weight)
    update_all(loss, 0.99)
    torch.testing.assert_close(loss.projector.target[0].weight, torch.full((8, 6), 0.01))


def test_heads_of_a_vit_have_their_published_sizes():
    with torch.device("meta"):
        loss = MomentumContrast(MomentumContrastOptions(), Context(width=384))
    sizes = [sum(p.numel() for p in module.parameters()) for module in (loss.projector.online, loss.predictor)]
    assert sizes == [19_415_040, 2_105_344]


def test_heads_of_a_resnet_are_two_layers_and_a_predictor_that_ends_linear():
    loss = build(projector_layers=2, predictor_last_norm=False)
    kinds = [type(module).__name__ for module in loss.projector.online]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert type(loss.predictor[-1]) is nn.Linear


def test_the_loss_is_full_precision_inside_autocast(step):
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(step).dtype == torch.float32


def test_a_group_of_one_crop_is_refused():
    with pytest.raises(UserError, match="one crop") as refused:
        MomentumContrast(MomentumContrastOptions(), Context(width=6, views={"global": ViewShape(1, 32)}))
    assert refused.value.hint == "set views.global.crops = 2"


def test_it_reads_student_and_teacher():
    reads = MomentumContrastOptions(views="whole").reads()
    assert (reads.student, reads.teacher, reads.images) == (("whole",), ("whole",), ())


def steps(count, batch=8):
    """Steps on random vectors of other samples each."""
    for number in range(count):
        student, teacher = torch.randn(2, 2, batch, 6, generator=torch.Generator().manual_seed(number))
        yield make_step(student.requires_grad_(), teacher, torch.arange(batch) + batch * number)


def queue_loss_by_hand(queries, keys, negatives, temperature):
    """2 tau [ctr(q1, k2) + ctr(q2, k1)], the keys of the batch and of the queue below the line, term by term."""
    total = 0.0
    for query, key in ((0, 1), (1, 0)):
        for i in range(len(queries[query])):
            others = [*keys[key], *negatives]
            scores = [
                math.exp(nn.functional.cosine_similarity(queries[query][i], k, dim=0) / temperature) for k in others
            ]
            total -= math.log(scores[i] / sum(scores)) / len(queries[query])
    return 2 * temperature * total


@torch.no_grad()
def test_the_loss_with_a_queue_is_its_equation():
    loss, pushed = build_with_queue(), []
    for step in steps(3):
        queries, keys = loss.queries(step.student("global")), loss.keys(step.teacher("global"))
        noise = loss.queue.rows[loss.queue.owners < 0]
        by_hand = queue_loss_by_hand(queries, keys, [*noise, *pushed[-40:]], 0.2)
        assert loss(step).item() == pytest.approx(by_hand, rel=1e-4)
        loss.after_step(step)
        pushed += [row for crop in keys for row in crop]


def test_keys_go_into_the_queue_crop_by_crop_at_unit_length_with_their_owners():
    loss, step = build_with_queue(), next(steps(1))
    loss(step)
    loss.after_step(step)
    keys = torch.cat(loss.keys_of(step))
    torch.testing.assert_close(loss.queue.rows[:16], nn.functional.normalize(keys, dim=1))
    assert loss.queue.owners[:17].tolist() == [*range(8), *range(8), -1]


def test_a_step_never_meets_its_own_keys_in_the_queue():
    loss, step = build_with_queue(), next(steps(1))
    before = loss.queue.rows.clone()
    loss(step)
    assert torch.equal(loss.queue.rows, before)


def test_the_teacher_projects_once_a_step():
    loss, calls = build_with_queue(), []
    loss.projector.target.register_forward_hook(lambda *_: calls.append(1))
    for step in steps(2):
        step.scope = "moco_v3"
        loss(step)
        loss.after_step(step)
    assert len(calls) == 2 * 2  # steps by crops


def test_half_precision_keys_are_of_unit_length_in_the_queue():
    loss, step = build_with_queue(), next(steps(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(step).dtype == torch.float32
    loss.after_step(step)
    torch.testing.assert_close(loss.queue.rows.norm(dim=1), torch.ones(40))


def test_without_a_queue_it_is_bit_by_bit_what_it_was(step):
    plain, queued = build(), build_with_queue()
    first, second = plain.state_dict(), queued.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert set(second) - set(first) == {"queue.rows", "queue.owners", "queue.place"}
    before = {name: tensor.clone() for name, tensor in first.items() if "running" not in name and "num_b" not in name}
    assert torch.equal(plain(step), contrast(plain.queries(step.student("")), plain.keys(step.teacher("")), 0.2))
    plain.after_step(step)
    assert all(torch.equal(plain.state_dict()[name], tensor) for name, tensor in before.items())


def test_a_restored_queue_gives_the_next_loss_exactly():
    loss, restored = build_with_queue(), build_with_queue()
    *before, last = steps(4)
    for step in before:
        loss(step)
        loss.after_step(step)
    restored.load_state_dict(loss.state_dict())
    assert torch.equal(loss(last), restored(make_step(last.student("").pooled, last.teacher("").pooled)))


def test_the_queue_says_how_full_it_is():
    loss, shares = build_with_queue(), []
    for step in steps(4):
        loss(step)
        loss.after_step(step)
        shares.append(step.logs["queue_filled"].item())
    assert shares == pytest.approx([0, 0.4, 0.8, 1])


def test_a_queue_smaller_than_the_keys_of_a_step_is_refused():
    with pytest.raises(UserError, match="queue = 23 is smaller than what one step brings, 24 rows"):
        build_with_queue(23, crops=3)
    assert build_with_queue(24, crops=3).queue.size == 24


def test_a_queue_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="queue = 101 is larger than the data, 100 pictures"):
        build_with_queue(101)
