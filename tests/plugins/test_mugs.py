import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError
from sslcli_mugs.crops import total, weights_of
from sslcli_mugs.group import GroupDiscrimination
from sslcli_mugs.instance import InstanceDiscrimination
from sslcli_mugs.local_group import LocalGroupDiscrimination
from sslcli_mugs.options import GroupOptions, InstanceOptions, LocalGroupOptions, MugsOptions
from sslcli_mugs.relation import Relation
from torch import nn

from sslcli.api import Context, Progress, ViewShape, value_at
from sslcli.errors import UserError
from sslcli.nn import Momentum, update_all
from sslcli.plugins import resolve
from sslcli.recipe import load_recipe
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import build_backbone, build_pretraining, context_of, with_backbone
from sslcli.training.optimizer import Thaw, clip_gradients, freeze_for_ever, parameter_groups
from sslcli.training.schedule import learning_rate

VIEWS = {"teacher": ViewShape(2, 16), "global": ViewShape(2, 16), "local": ViewShape(3, 8)}
CROPS = {"teacher_views": "teacher", "local_views": "local"}
SMALL = {"hidden": 24, "output": 8, "predictor_hidden": 16, "queue": 24}
RECIPES = {
    "small": "mugs/vit_small-imagenet-100ep",
    "base": "mugs/vit_base-imagenet-400ep",
    "large": "mugs/vit_large-imagenet-250ep",
}
IMAGENET = 1_281_167


def tiny(loss, options, **given):
    """A loss on the tiny ViT, and a step that it can read."""
    backbone = make_backbone(make_context(VIEWS))
    context = replace(with_backbone(make_context(VIEWS), backbone), samples=1000)
    torch.manual_seed(3)
    weak = torch.tensor([True, False, True, True, False, True])
    step = make_step(VIEWS, backbone=backbone, columns={"weak": weak})
    return loss(options(**{**CROPS, **given}), context), step


def instance(**given):
    return tiny(InstanceDiscrimination, InstanceOptions, **{**SMALL, **given})


def local_group(**given):
    return tiny(LocalGroupDiscrimination, LocalGroupOptions, **{**SMALL, "memory": 16, "neighbours": 4, **given})


def group(**given):
    return tiny(GroupDiscrimination, GroupOptions, **{"prototypes": 16, "hidden": 24, "bottleneck": 8, **given})


ALL = [instance, local_group, group]


def of_imagenet(reference):
    """The module that a recipe trains, without memory behind its tensors, and the recipe."""
    recipe = load_recipe(reference)
    context = context_of(recipe, samples=IMAGENET)
    with torch.device("meta"):
        return build_pretraining(recipe, context, build_backbone(recipe, context)), recipe


@pytest.fixture(scope="module", params=RECIPES)
def published(request):
    """One of the published recipes, built."""
    return request.param, *of_imagenet(RECIPES[request.param])


def numbers(module, *, buffers=False):
    return sum(tensor.numel() for tensor in (module.parameters() if not buffers else module.buffers()))


COUNTS = {  # backbone, relation block, projector, group projector
    "small": (21_665_664, 1_774_464, 5_505_024, 5_509_376),
    "base": (85_798_656, 7_087_872, 6_291_456, 6_295_808),
    "large": (303_301_632, 12_596_224, 6_815_744, 6_820_096),
}


def test_parts_have_the_sizes_of_the_released_models(published):
    size, model, _ = published
    one, local, crowd = model.losses.values()
    found = (
        numbers(model.student),
        numbers(local.relation.online),
        numbers(one.contrast.projector.online),
        numbers(crowd.head.online.projector),
    )
    assert found == COUNTS[size]
    assert numbers(one.contrast.predictor) == numbers(local.contrast.predictor) == 2_097_152
    assert numbers(crowd.head.online.last) == 16_842_752


def test_student_and_teacher_have_the_released_numbers_of_tensors(published):
    size, model, _ = published
    sides = {"student": [*model.student.parameters()], "teacher": [*model.teacher.parameters()]}
    for module in model.losses.modules():
        if isinstance(module, Momentum):
            sides["student"] += module.online.parameters()
            sides["teacher"] += module.target.parameters()
    for loss in list(model.losses.values())[:2]:
        sides["student"] += loss.contrast.predictor.parameters()
    student, teacher = len(sides["student"]), len(sides["teacher"])
    assert (student, teacher) == ((324, 320) if size == "large" else (180, 176))
    assert sum(t.numel() for t in sides["student"]) - sum(t.numel() for t in sides["teacher"]) == 4_194_304


GROUPS = {  # decayed, decayed patch embedding, others, other patch embedding
    "small": {(True, 1.0): 69, (True, 0.2): 1, (False, 1.0): 109, (False, 0.2): 1},
    "base": {(True, 1.0): 69, (True, 0.2): 1, (False, 1.0): 109, (False, 0.2): 1},
    "large": {(True, 1.0): 116, (True, 0.2): 1, (False, 1.0): 205, (False, 0.2): 1},
}


def test_parameters_are_grouped_as_in_the_released_code(published):
    size, model, recipe = published
    found = parameter_groups(model, model.student, recipe.optimizer)
    assert {(one["decays"], one["factor"]): len(one["params"]) for one in found} == GROUPS[size]
    decayed = {name for one in found if one["decays"] for name in one["names"]}
    assert {"backbone.online.model.cls_token", "backbone.online.model.pos_embed"} <= decayed
    magnitude = "losses.mugs_group.head.online.last.magnitude"
    assert (magnitude in decayed) == (size != "large")


LOGS = {  # of the released runs: iterations an epoch, mean rate and mean decay over the first two epochs
    "mugs/vit_small-imagenet-100ep": (
        2502,
        (7.997122187e-5, 2.3997761701e-4),
        (0.04001315093548, 0.04009207252113),
    ),
    "mugs/vit_small-imagenet-300ep": (
        1251,
        (1.5988488288e-4, 4.7991046447e-4),
        (0.04000054765108, 0.04000383611421),
    ),
    "mugs/vit_large-imagenet-250ep": (
        2001,
        (1.8741566295e-4, 5.6243440452e-4),
        (0.02500072322282, 0.02500506459230),
    ),
}


@pytest.mark.parametrize("reference", LOGS)
def test_schedules_match_the_released_logs(reference):
    per_epoch, rates, decays = LOGS[reference]
    recipe = load_recipe(reference)
    context = context_of(recipe, samples=IMAGENET)
    assert context.steps_per_epoch == per_epoch
    rate = learning_rate(recipe.optimizer, context)
    for epoch in (0, 1):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        progress = [Progress(step, context.steps, per_epoch) for step in steps]
        assert sum(map(rate.at, steps)) / per_epoch == pytest.approx(rates[epoch], rel=1e-9)
        mean = sum(value_at(recipe.optimizer.weight_decay, one) for one in progress) / per_epoch
        assert mean == pytest.approx(decays[epoch], rel=1e-9)
    assert rate.at(10 * per_epoch - 1) == pytest.approx(rate.peak, rel=1e-12)
    assert 0 < rate.at(context.steps - 1) - recipe.optimizer.final_lr < 1e-9


def test_the_published_batches_give_the_published_peaks():
    names = [*LOGS, "mugs/vit_small-imagenet-800ep", "mugs/vit_base-imagenet-400ep"]
    recipes = [load_recipe(name) for name in names]
    found = [learning_rate(recipe.optimizer, context_of(recipe, samples=IMAGENET)).peak for recipe in recipes]
    assert found == pytest.approx([1.6e-3, 3.2e-3, 3.75e-3, 3.2e-3, 3.15e-3])


def test_the_teacher_warms_up_over_thirty_epochs_of_three_hundred():
    recipe = load_recipe("mugs/vit_small-imagenet-300ep")
    temperature = recipe.losses[2].options.teacher_temperature
    found = [value_at(temperature, Progress(epoch * 1251, 300 * 1251, 1251)) for epoch in (0, 1, 29, 299)]
    assert found == pytest.approx([0.04, 0.04 + 0.03 / 29, 0.07, 0.07])


def test_the_teachers_momentum_goes_from_0_996_to_1():
    momentum = load_recipe(RECIPES["small"]).teacher.momentum
    found = [value_at(momentum, Progress(step, 1000, 10)) for step in range(1000)]
    assert (found[0], found[500]) == pytest.approx((0.996, 0.998))
    assert all(a < b for a, b in pairwise(found))
    assert found[-1] < 1


def test_vit_large_clips_ten_times_as_hard_after_epoch_100():
    clip = load_recipe(RECIPES["large"]).optimizer.clip
    assert [value_at(clip, Progress(e * 2001, 250 * 2001, 2001)) for e in (0, 100, 101, 249)] == [3.0, 3.0, 0.3, 0.3]


def test_each_tensor_is_clipped_on_its_own():
    tensors = [nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(1))]
    tensors[0].grad, tensors[1].grad = torch.full((4,), 15.0), torch.ones(1)
    clip_gradients(tensors, 3.0, "per_tensor")
    assert tensors[0].grad.norm().item() == pytest.approx(3.0, abs=1e-5)
    assert tensors[1].grad.item() == 1.0


def test_vit_base_has_an_iteration_less_than_the_released_sampler_which_pads():
    recipe = load_recipe(RECIPES["base"])
    assert context_of(recipe, samples=IMAGENET).steps_per_epoch == 1270  # the released log: 1271


@pytest.mark.parametrize("weight", [0, 1, 2])
def test_one_of_the_three_may_be_left_out_of_its_recipe(weight):
    recipe = load_recipe("mugs/tiny", [f"loss.{weight}.weight=0.0"])
    context = context_of(recipe, samples=2713)
    model = build_pretraining(recipe, context, build_backbone(recipe, context))
    freeze_for_ever(model, recipe.optimizer.freeze)
    Thaw(model, recipe.optimizer.freeze)
    assert len(model.losses) == 2


def test_a_large_pair_weighs_ten_times_a_small_one():
    context = Context(views={"teacher": ViewShape(2, 224), "global": ViewShape(2, 224), "local": ViewShape(10, 96)})
    weights = weights_of(MugsOptions(**CROPS), context)
    expected = torch.full((2, 12), 0.025)
    expected[:, :2] = torch.tensor([[0.0, 0.25], [0.25, 0.0]])
    torch.testing.assert_close(weights, expected)


def test_without_small_crops_the_loss_is_the_mean_over_large_pairs():
    weights = weights_of(MugsOptions(), Context(views={"global": ViewShape(2, 16)}))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.5], [0.5, 0.0]]))


def test_legacy_weights_only_divide():
    pairs, weights = torch.full((2, 2), 8.0), torch.full((2, 2), 0.25)
    released = [total(pairs, weights, MugsOptions(legacy=True, weight=w)) * w for w in (1.0, 0.5, 1.0)]
    assert sum(released).item() / 2.5 == pytest.approx(24 / 2.5)
    assert total(pairs, weights, MugsOptions(weight=0.5)).item() == 8.0


def contrast_of_chance(loss, step):
    """ln(K + 1) + 1 / (2 D tau^2) - c / tau, with c the mean cosine of positive pairs."""
    queries, keys = loss.contrast.queries(student_cls(step)), loss.contrast.keys(step.teacher("teacher").cls)
    positive = (torch.einsum("sbd,tbd->tsb", queries, keys).mean(-1) * loss.contrast.weights).sum()
    return math.log(65_537) + 1 / (2 * 256 * 0.04) - positive.item() / 0.2


def student_cls(step):
    return torch.cat([step.student("global").cls, step.student("local").cls])


@pytest.mark.slow
def test_losses_of_a_fresh_vit_small_start_where_the_released_ones_do():
    views = {"teacher": ViewShape(2, 224), "global": ViewShape(2, 224), "local": ViewShape(2, 96)}
    recipe = load_recipe(RECIPES["small"])
    torch.manual_seed(0)
    model = resolve(recipe.backbone.offer.code)(recipe.backbone.options, make_context(views)).eval()
    context = replace(with_backbone(make_context(views), model), samples=IMAGENET)
    step = make_step(views, backbone=model)
    with torch.no_grad():
        one = InstanceDiscrimination(recipe.losses[0].options, context)
        assert one(step).item() == pytest.approx(contrast_of_chance(one, step), abs=0.1)
        assert one(step).item() == pytest.approx(11.14, abs=0.4)
        crowd = GroupDiscrimination(recipe.losses[2].options, context)
        sharp = crowd(step).item()
        crowd.options = crowd.options.model_copy(update={"teacher_temperature": 0.07})
        assert 10.2 < sharp < crowd(step).item() < 11.4
        crowd.centre.mean.copy_(crowd.taught(step.teacher("teacher").cls).flatten(0, 1).mean(0))
        assert crowd(step).item() == pytest.approx(11.29, abs=0.15)


@pytest.mark.parametrize("make", ALL)
def test_everything_that_learns_gets_a_gradient_and_nothing_else(make):
    loss, step = make()
    loss(step).backward()
    assert [name for name, p in loss.named_parameters() if p.requires_grad and p.grad is None] == []
    assert all(p.grad is None for p in step.teacher_backbone.parameters())
    assert all(p.grad is None for name, p in loss.named_parameters() if ".target." in name)
    assert step.backbone.model.blocks[0].mlp.fc1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("make", ALL)
def test_losses_are_full_precision_inside_autocast(make):
    loss, step = make()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(step).dtype == torch.float32


def test_heads_of_the_contrasts_have_no_biases_and_no_norms_and_give_unit_vectors():
    loss, step = instance()
    heads = loss.contrast
    assert all(p.ndim == 2 for p in heads.parameters())
    found = (heads.queries(step.student("global").cls), heads.keys(step.teacher("teacher").cls))
    for vectors in found:
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, 6), atol=1e-6, rtol=0)


def test_a_predictor_does_not_reach_its_teacher():
    loss, _ = instance()
    before = [p.clone() for p in loss.contrast.projector.target.parameters()]
    nn.init.ones_(loss.contrast.predictor[0].weight)
    update_all(loss, 0.5)
    assert all(a.equal(b) for a, b in zip(before, loss.contrast.projector.target.parameters()))


def test_the_relation_block_changes_the_local_group_alone():
    loss, step = local_group()
    before = loss(step).item()
    nn.init.normal_(loss.relation.online.block.mlp.fc2.bias)  # not alike in all channels: a norm would take that away
    step.shared.clear()
    assert loss(step).item() != before
    assert sum(p.numel() for p in Relation(384, 6).parameters()) == 1_774_464


def test_a_group_is_made_of_the_query_and_its_neighbours_as_they_are_stored():
    loss, step = local_group()
    seen = []
    loss.relation.online.block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    loss.student_groups(step)
    features, memory = step.student("global"), loss.student_memory.rows
    (sequence,) = seen
    assert sequence.shape == (5 * 6, 1 + 4, 32)
    query = features.tokens[0, 0].mean(0)
    nearest = (memory @ query / memory.norm(dim=1)).topk(4).indices
    torch.testing.assert_close(sequence[0], torch.cat([query[None], memory[nearest]]))


def test_the_memory_holds_patches_of_the_first_large_crop_and_the_students_only_weak_ones():
    loss, step = local_group(memory_column="weak")
    loss(step)
    loss.after_step(step)
    stored = step.student("global").patches[0].mean(1)[step.column("weak")]
    torch.testing.assert_close(loss.student_memory.rows[:4], stored)
    torch.testing.assert_close(loss.teacher_memory.rows[:6], step.teacher("teacher").patches[0].mean(1))
    assert (int(loss.student_memory.place), int(loss.teacher_memory.place)) == (4, 6)
    assert loss.student_memory.owners[:5].tolist() == [0, 2, 3, 5, -1]


def test_a_step_sees_the_queue_of_the_steps_before():
    loss, step = instance()
    before = loss(step)
    loss.after_step(step)
    step.shared.clear()
    assert not torch.equal(loss.contrast.queue.rows[:12], torch.zeros(12, 8))
    assert loss(step).item() != before.item()
    keys = torch.cat([*loss.contrast.keys(step.teacher("teacher").cls)])
    torch.testing.assert_close(loss.contrast.queue.rows[:12], keys)
    assert loss.contrast.queue.filled == 12 / 24


def test_a_missing_column_is_named():
    recipe = load_recipe("mugs/tiny", ["loss.1.memory_column=weka"])
    context = context_of(recipe, samples=2713)
    with pytest.raises(UserError, match=r"loss\.1 reads the column 'weka', which no view group gives") as refused:
        build_pretraining(recipe, context, build_backbone(recipe, context))
    assert refused.value.hint == "did you mean 'weak'?"


def test_diagnostics_are_logged_with_their_limits():
    loss, step = local_group()
    loss(step)
    assert {*step.logs} == {
        "own_neighbours",
        "attention_on_one",
        "student_memory_filled",
        "teacher_memory_filled",
    }
    assert {*step.limits} == {"own_neighbours", "attention_on_one"}
    assert not step.limits["own_neighbours"].holds(1 / 4)  # each picture among its own four neighbours
    assert 0.05 < step.logs["attention_on_one"] < 0.5
    assert step.logs["student_memory_filled"] == 0


def test_attention_on_one_neighbour_is_what_the_block_does():
    relation = Relation(32, 2).eval()
    queries, neighbours = torch.randn(3, 32), torch.randn(3, 4, 32)
    block = relation.block
    sequence = block.norm1(torch.cat([queries[:, None], neighbours], dim=1))
    q, k, _ = block.attn.qkv(sequence).view(3, 5, 3, 2, 16).unbind(2)
    shares = torch.stack([(q[:, 0, h] / 4 @ k[i, :, h].T)[i].softmax(-1) for i in range(3) for h in range(2)])
    torch.testing.assert_close(relation.strongest(queries, neighbours), shares[:, 1:].max(1).values.mean())


def test_prototype_entropies_are_logged():
    loss, step = group()
    loss(step)
    assert {*step.logs} == {"prototype_entropy", "image_entropy"}
    assert 0 < step.logs["image_entropy"] <= step.logs["prototype_entropy"] <= 1


def test_the_last_layer_waits_for_its_epoch():
    recipe = load_recipe("mugs/tiny")
    context = context_of(recipe, samples=2713)
    model = build_pretraining(recipe, context, build_backbone(recipe, context))
    freeze_for_ever(model, recipe.optimizer.freeze)
    thaw = Thaw(model, recipe.optimizer.freeze)
    last = model.losses["mugs_group"].head.online.last
    for step, kept in ((0, False), (context.steps_per_epoch - 1, False), (context.steps_per_epoch, True)):
        last.direction.grad = torch.ones_like(last.direction)
        thaw.drop_gradients(Progress(step, context.steps, context.steps_per_epoch))
        assert (last.direction.grad is not None) is kept


def test_unit_prototypes_have_magnitudes_that_do_not_learn():
    loss, step = group(norm_last_layer=True)
    loss(step).backward()
    magnitude = loss.head.online.last.magnitude
    assert magnitude.grad is None
    assert magnitude.equal(torch.ones(16, 1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"queue": 8}, "queue = 8 is smaller than what one step brings, 12 rows"),
        ({"queue": 1001}, "queue = 1001 is larger than the data, 1000 pictures"),
        ({"memory": 5, "neighbours": 2}, "memory = 5 is smaller than what one step brings, 6 rows"),
        ({"memory": 4096}, "memory = 4096 is larger than the data, 1000 pictures"),
        ({"relation_heads": 5}, "5 heads of attention do not divide a width of 32"),
        ({"memory": "auto", "neighbours": 600}, "600 neighbours out of a memory of 256"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(given, message):
    with pytest.raises(UserError, match=message) as refused:
        local_group(**given)
    assert refused.value.hint


def test_more_neighbours_than_entries_are_refused_by_the_recipe():
    with pytest.raises(ValidationError, match="9 neighbours out of a memory of 8"):
        LocalGroupOptions(memory=8, neighbours=9)


def test_a_warm_up_longer_than_the_run_is_refused():
    flags = ["train.epochs=20.0"]
    with pytest.raises(UserError, match=r"teacher_temperature\.epochs must be at most train\.epochs, 20, not 30"):
        load_recipe("mugs/vit_small-imagenet-300ep", flags)


def test_sizes_left_out_suit_the_data():
    loss, _ = local_group(queue="auto", memory="auto")
    assert (loss.contrast.queue.size, loss.student_memory.size) == (256, 256)


def test_resumed_state_gives_the_same_next_loss():
    loss, step = local_group(memory_column="weak")
    loss(step)
    loss.after_step(step)
    other, _ = local_group(memory_column="weak")
    other.load_state_dict(loss.state_dict())
    step.shared.clear()
    first = loss(step)
    step.shared.clear()
    assert other(step).equal(first)
