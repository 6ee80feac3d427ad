import math

import pytest
import torch
from pydantic import ValidationError
from sslcli_dino.ibot import MaskedDistillation, mean_over_hidden
from sslcli_dino.masking import ATTEMPTS, block_masks, mask_budget
from sslcli_dino.options import IbotOptions
from torch import nn

from sslcli.api import Context, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Features
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import with_backbone

VIEWS = {"global": ViewShape(2, 32), "local": ViewShape(2, 16)}
SMALL = {"prototypes": 5, "hidden": 8, "bottleneck": 4, "local_views": "local"}


def build(views=VIEWS, **options):
    context = make_context(views)
    torch.manual_seed(3)
    loss = MaskedDistillation(IbotOptions(**{**SMALL, **options}), with_backbone(context, make_backbone(context)))
    nn.init.normal_(loss.mask_token)
    return loss


def cross_entropy_by_hand(teacher, student, centre, warm, cold):
    """H(softmax((teacher - centre) / warm), softmax(student / cold)) of one row."""
    sharp = [math.exp((g - c) / warm) for g, c in zip(teacher, centre)]
    flat = [math.exp(g / cold) for g in student]
    return -sum(q / sum(sharp) * math.log(p / sum(flat)) for q, p in zip(sharp, flat))


def patch_loss_by_hand(loss, step, mask, warm):
    """The loss of hidden patches, crop by crop and patch by patch, every logit made."""
    student, teacher = loss.encode_masked(step, mask).patches, step.teacher("global").patches.flatten(0, 1)
    guessed = loss.online.patch_logits(loss.online.vectors(student)).tolist()
    said = loss.target.patch_logits(loss.target.vectors(teacher)).tolist()
    centre, total = loss.patch_centre.mean.tolist(), 0.0
    for crop, hidden in enumerate(mask.tolist()):
        terms = [
            cross_entropy_by_hand(said[crop][place], guessed[crop][place], centre, warm, 0.1)
            for place, is_hidden in enumerate(hidden)
            if is_hidden
        ]
        total += sum(terms) / max(len(terms), 1)
    return total / len(mask)


def cls_loss_by_hand(loss, step, mask):
    """DINO's loss from masked large crops and whole small ones."""
    large = loss.encode_masked(step, mask).cls.view(2, 6, -1)
    student = loss.online(torch.cat([large, step.student("local").cls])).tolist()
    teacher = loss.target(step.teacher("global").cls).tolist()
    pairs = [(t, s) for t in range(2) for s in range(4) if t != s]
    rows = [(teacher[t][image], student[s][image]) for t, s in pairs for image in range(6)]
    return sum(cross_entropy_by_hand(q, p, loss.centre.mean.tolist(), 0.04, 0.1) for q, p in rows) / len(rows)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_is_its_equation_from_images_to_scalar(shared):
    loss = build(shared_head=shared, patch_temperature=0.07, cls_weight=0.5, patch_weight=2.0)
    step = make_step(VIEWS, reads=loss.options.reads())
    for centre in (loss.centre, loss.patch_centre):
        centre.mean.normal_()
    mask = loss.draw_masks(step)
    known = 0.5 * cls_loss_by_hand(loss, step, mask) + 2.0 * patch_loss_by_hand(loss, step, mask, 0.07)
    assert mask.any()
    assert loss(step).item() == pytest.approx(known, rel=1e-4)


def test_a_student_that_cannot_decide_is_at_ln_k_for_cls_and_for_every_crop_with_hidden_patches():
    loss, step = build(norm_last_layer=False), make_step(VIEWS)
    nn.init.zeros_(loss.online.last.magnitude)
    loss(step)
    hidden = loss.draw_masks(step).any(dim=1).float().mean().item()
    assert 0 < hidden < 1
    assert step.logs["cls"].item() == pytest.approx(math.log(5), rel=1e-5)
    assert step.logs["patch"].item() == pytest.approx(hidden * math.log(5), rel=1e-5)


def test_the_mean_is_over_the_hidden_patches_of_each_crop_then_over_crops():
    mask = torch.tensor([[True, True, False], [False, False, False], [False, False, True]])
    assert mean_over_hidden(
        torch.tensor([1.0, 3.0, 7.0]), mask, mask.flatten().nonzero()[:, 0]
    ).item() == pytest.approx((2 + 0 + 7) / 3)


def test_patches_that_are_seen_do_not_matter():
    loss, step = build(), make_step(VIEWS)
    mask = loss.draw_masks(step)
    student = loss.encode_masked(step, mask)
    noise = torch.randn_like(student.patches) * ~mask[..., None]
    other = torch.cat([student.normed[:, :1], student.patches + noise], dim=1)
    changed = Features(student.tokens, other, student.prefix, student.pooled)
    assert loss.patch_loss(step, changed, mask).item() == loss.patch_loss(step, student, mask).item()


def test_a_hidden_patch_leaves_no_trace_of_its_pixels():
    loss, step = build(mask_probability=1.0), make_step(VIEWS)
    mask = loss.draw_masks(step)
    before = loss.encode_masked(step, mask).cls
    hidden = mask.view(12, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    step.views["global"].view(12, 3, 32, 32)[hidden[:, None].expand(-1, 3, -1, -1)] = 7.0
    torch.testing.assert_close(loss.encode_masked(step, mask).cls, before)


def test_the_student_its_head_and_the_mask_token_learn_and_the_teacher_does_not():
    loss, step = build(shared_head=False, norm_last_layer=False), make_step(VIEWS)
    loss(step).backward()
    assert loss.mask_token.grad.abs().sum() > 0
    assert all(p.grad is not None for p in (*loss.online.parameters(), *step.backbone.parameters()))
    assert all(p.grad is None for p in (*loss.target.parameters(), *step.teacher_backbone.parameters()))


def test_without_hidden_patches_the_patch_loss_is_zero_and_every_parameter_still_has_a_gradient():
    loss, step = (
        build(shared_head=False, norm_last_layer=False, mask_probability=0.0, patch_weight=0.0),
        make_step(VIEWS),
    )
    loss(step).backward()
    assert step.logs["patch"].item() == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in (loss.mask_token, *loss.online.parameters()))


def test_the_centres_are_the_means_of_what_the_teacher_said_of_cls_and_of_all_patches():
    loss, step = build(shared_head=False), make_step(VIEWS)
    loss(step)
    assert not loss.centre.mean.any()
    assert not loss.patch_centre.mean.any()
    loss.after_step(step)
    teacher = step.teacher("global")
    patches = loss.target.patch_logits(loss.target.vectors(teacher.patches))
    torch.testing.assert_close(loss.centre.mean, 0.1 * loss.target(teacher.cls).mean((0, 1)))
    torch.testing.assert_close(loss.patch_centre.mean, 0.1 * patches.mean((0, 1, 2)))


def test_a_shared_head_has_one_set_of_prototypes():
    shared, own = (build(shared_head=how).online for how in (True, False))
    assert sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in shared.parameters()) == 5 * 4 + 5
    assert shared.patch_logits(torch.eye(4)).equal(shared.last(torch.eye(4)))


def test_the_mask_token_starts_at_zero_and_decays_as_a_matrix():
    loss = MaskedDistillation(IbotOptions(**SMALL), Context(width=6, patch_size=8, views=VIEWS))
    assert loss.mask_token.shape == (1, 6)
    assert not loss.mask_token.any()


def test_what_is_hidden_belongs_to_the_picture_and_not_to_its_place_in_the_batch():
    loss = build(mask_probability=0.9)
    numbers = torch.tensor([3, 1, 4, 0, 5, 2])
    ordered = loss.draw_masks(make_step(VIEWS)).view(2, 6, 16)
    shuffled = loss.draw_masks(make_step(VIEWS, columns={"index": numbers})).view(2, 6, 16)
    assert shuffled.equal(ordered[:, numbers])
    assert not ordered[0].equal(ordered[1])


def test_the_loss_is_full_precision_inside_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert build()(make_step(VIEWS)).dtype == torch.float32


def test_it_reads_small_crops_by_the_student_and_large_ones_by_the_teacher_and_as_images():
    reads = IbotOptions(local_views="local").reads()
    assert (reads.student, reads.teacher, reads.images) == (("local",), ("global",), ("global",))
    assert IbotOptions().reads().student == ()


def test_masks_that_hide_nothing_are_refused():
    with pytest.raises(UserError, match=r"hide none of the 16 patches of views\.global"):
        build(mask_ratio=0.01, mask_spread=0.0)


@pytest.mark.parametrize(("ratio", "spread"), [(0.3, 0.4), (0.9, 0.2)])
def test_a_ratio_outside_of_zero_to_one_is_refused(ratio, spread):
    with pytest.raises(ValidationError, match="must stay between 0 and 1"):
        IbotOptions(mask_ratio=ratio, mask_spread=spread)


# blocks


def drawn(count, grid, *, attempts=ATTEMPTS, ratio=0.3, spread=0.2, probability=1.0, seed=0):
    """Masks `[count, rows, columns]`, their budgets and the numbers they were drawn from."""
    generator = torch.Generator().manual_seed(seed)
    numbers, budgets = torch.rand(count, attempts, 4, generator=generator), torch.rand(count, 2, generator=generator)
    budget = mask_budget(budgets, grid[0] * grid[1], probability=probability, ratio=ratio, spread=spread)
    return block_masks(numbers, budget, grid, 0.3).view(count, *grid), budget, numbers


def block_mask_by_hand(numbers, budget, grid, aspect):
    """BEiT's masking of one picture: rectangle after rectangle, until ten in a row do not fit."""
    rows, columns = grid
    hidden, refused = set(), 0
    for area, shape, row, column in numbers:
        left, least = budget - len(hidden), (min(grid) // 3) ** 2
        if refused == 10 or left <= 0:
            break
        size, ratio = least + (left - least) * area, math.exp(math.log(aspect) + shape * 2 * math.log(1 / aspect))
        high, wide = round(math.sqrt(size * ratio)), round(math.sqrt(size / ratio))
        top, start = int(row * (rows - high + 1)), int(column * (columns - wide + 1))
        block = {(r, c) for r in range(top, top + high) for c in range(start, start + wide)}
        if high < rows and wide < columns and 0 < len(block - hidden) <= left:
            hidden, refused = hidden | block, 0
        else:
            refused += 1
    return hidden


@pytest.mark.parametrize("grid", [(14, 14), (4, 4), (6, 9), (2, 2)])
def test_all_pictures_at_once_are_masked_as_one_after_the_other(grid):
    masks, budgets, numbers = drawn(60, grid)
    for mask, budget, row in zip(masks, budgets.tolist(), numbers.tolist()):
        assert set(map(tuple, mask.nonzero().tolist())) == block_mask_by_hand(row, budget, grid, 0.3)


def test_half_of_the_pictures_have_hidden_patches_and_these_a_tenth_to_a_half():
    masks, _, _ = drawn(2000, (14, 14), probability=0.5)
    shares = masks.flatten(1).float().mean(dim=1)
    hidden = shares[shares > 0]
    assert len(hidden) / len(shares) == pytest.approx(0.5, abs=0.04)
    assert hidden.mean().item() == pytest.approx(0.3, abs=0.02)
    assert hidden.max() <= 0.5
    assert hidden.quantile(0.02) > 0.08


def test_no_more_is_hidden_than_the_budget_and_nearly_all_of_it():
    masks, budget, _ = drawn(500, (14, 14))
    used = masks.flatten(1).sum(dim=1) / budget
    assert used.max() <= 1
    assert used.mean() > 0.95


def test_the_first_thing_hidden_is_one_rectangle_of_the_shapes_that_are_asked_for():
    masks, _, _ = drawn(300, (14, 14), attempts=1)
    for mask in masks[masks.flatten(1).any(dim=1)]:
        high, wide = mask.any(dim=1).sum().item(), mask.any(dim=0).sum().item()
        assert mask.sum() == high * wide
        assert (high - 0.5) / (wide + 0.5) < 1 / 0.3
        assert (wide - 0.5) / (high + 0.5) < 1 / 0.3


def test_every_place_may_be_hidden_and_the_middle_most_often():
    share = drawn(2000, (14, 14))[0].float().mean(dim=0)
    assert share.min() > 0.01
    assert share[5:9, 5:9].mean() > 1.2 * share.mean()
    torch.testing.assert_close(share, share.flip(0), atol=0.06, rtol=0)


def test_more_rectangles_would_change_next_to_nothing():
    enough, _, _ = drawn(1000, (14, 14), attempts=200)
    numbers = torch.rand(1000, 200, 4, generator=torch.Generator().manual_seed(0))
    _, budget, _ = drawn(1000, (14, 14), attempts=200)
    cut = block_masks(numbers[:, :ATTEMPTS], budget, (14, 14), 0.3).view(1000, 14, 14)
    assert (cut == enough).flatten(1).all(dim=1).float().mean() > 0.995
