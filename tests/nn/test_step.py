import dataclasses

import pytest
import torch

from sslcli.api import Progress
from sslcli.nn import Features, Limit, Step


@pytest.fixture
def step():
    def encode(view):
        tokens = torch.full((2, 4, 3, 5), float(len(view)))
        return Features(tokens, tokens, 1, tokens[..., 0, :])

    return Step(
        backbone=None,
        teacher_backbone=None,
        progress=Progress(3, 10, 5),
        seed=0,
        columns={"index": torch.arange(4), "epoch": torch.zeros(4, dtype=torch.int64), "weak": torch.ones(4)},
        views={"global": torch.arange(2.0)[:, None, None, None, None].expand(2, 4, 3, 8, 8)},
        plans={"mixed": {"shift": torch.arange(4)}},
        encode_student=encode,
        encode_teacher=lambda view: encode(view + "!"),
    )


def test_a_group_has_an_axis_of_crops_and_a_crop_has_none(step):
    assert step.images("global").shape == (2, 4, 3, 8, 8)
    assert step.images("global:1").shape == (4, 3, 8, 8)
    assert (step.images("global:1") == 1).all()


def test_student_and_teacher_encode_the_view_that_is_named(step):
    assert step.student("global").pooled[0, 0, 0] == len("global")
    assert step.teacher("global").pooled[0, 0, 0] == len("global") + 1


def test_columns_and_plans_are_found_by_name(step):
    assert step.column("weak").tolist() == [1, 1, 1, 1]
    assert step.plan("mixed")["shift"].tolist() == [0, 1, 2, 3]


def test_what_is_shared_is_made_once(step):
    made = []
    for _ in range(2):
        assert step.once("key", lambda: made.append(1) or "thing") == "thing"
    assert made == [1]


def test_logs_carry_the_name_of_the_loss_and_no_gradient(step):
    step.scope = "mae"
    step.log("pixel_error", torch.ones((), requires_grad=True) * 2)
    assert step.logs["mae/pixel_error"] == 2
    assert not step.logs["mae/pixel_error"].requires_grad


def test_a_number_that_is_logged_with_a_limit_is_known_to_the_sentinel_by_the_same_name(step):
    step.scope = "mugs_group"
    limit = Limit("all alike", least=0.01)
    step.log("entropy", torch.ones(()), limit)
    step.log("other", torch.ones(()))
    assert step.limits == {"mugs_group/entropy": limit}


def test_a_limit_holds_between_its_ends_and_for_finite_numbers_only():
    limit = Limit("out of hand", least=0.0, most=1.0)
    assert [limit.holds(value) for value in (0.0, 1.0, -0.1, 1.1)] == [True, True, False, False]
    assert not any(Limit("no end").holds(value) for value in (float("nan"), float("inf"), -float("inf")))


def test_random_numbers_are_fixed_by_key_and_sample(step):
    assert step.uniform("mask", 3).shape == (4, 3)
    assert torch.equal(step.uniform("mask", 3), step.uniform("mask", 3))
    assert not torch.equal(step.uniform("mask", 3), step.uniform("noise", 3))


def test_features_part_prefix_from_patches():
    normed = torch.randn(2, 5, 3)
    features = Features(normed, normed, 1, normed.mean(1))
    assert torch.equal(features.cls, normed[:, 0])
    assert torch.equal(features.patches, normed[:, 1:])


def test_without_a_prefix_the_pooled_vector_stands_for_cls():
    normed = torch.randn(2, 5, 3)
    assert torch.equal(Features(normed, normed, 0, normed.mean(1)).cls, normed.mean(1))


def test_a_group_unflattens_stacks_and_splits():
    tokens = torch.randn(6, 5, 3)
    group = Features(tokens, tokens + 1, 1, tokens[:, 0]).unflatten(2)
    assert group.pooled.shape == (2, 3, 3)
    again = Features.cat([group[:1], group[1:]])
    assert torch.equal(again.normed, group.normed)
    assert not group[0].detach().tokens.requires_grad


def test_the_facts_of_a_view_are_repeated_crop_after_crop(step):
    assert step.facts_of("global")["index"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert step.facts_of("global:1")["index"].tolist() == [0, 1, 2, 3]


def test_images_of_several_samples_have_no_facts_even_when_there_are_as_many(step):
    joined = torch.zeros(2, 2, 3, 8, 8)  # two crops, each image of two of the four samples: four images again
    assert dataclasses.replace(step, views={"mixed": joined}).facts_of("mixed") == {}
