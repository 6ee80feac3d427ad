import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from safetensors.torch import load_file
from sslcli_patchmix.augmentation import PatchMix
from sslcli_patchmix.loss import SimilarityContrast, soft_contrast
from sslcli_patchmix.mix_options import PatchMixOptions
from sslcli_patchmix.mixing import draw_groups, mix_patches, ring_partners
from sslcli_patchmix.options import MixToMixOptions, MixToOriginOptions, OriginToOriginOptions
from sslcli_patchmix.targets import Parts, entropy, overlap, smooth, whole
from torch import Tensor, nn

from sslcli.api import Context, Progress, ViewShape, value_at
from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.nn import sample_uniform
from sslcli.recipe import load_recipe
from sslcli.testing.steps import make_backbone, make_context, make_step
from sslcli.training.building import build_backbone, build_pretraining, context_of, with_backbone
from sslcli.training.checkpoint import model_tensors, restore_model
from sslcli.training.pretraining import Pretraining
from sslcli.training.schedule import learning_rate

SCRIPT = Path(__file__).with_name("patchmix_two_ranks.py")
CPU = torch.device("cpu")
PERMUTATION = [5, 0, 10, 15, 3, 12, 6, 9, 1, 14, 7, 2, 8, 13, 4, 11]  # place in the order -> position in the picture
SMALL = {"hidden": 16, "output": 8}
VIEWS = {"global": ViewShape(2, 16), "mixed": ViewShape(2, 16)}


def numbers(permutation: list[int]) -> Tensor:
    """Random numbers by which the patches come in this order."""
    drawn = torch.empty(len(permutation))
    drawn[permutation] = torch.arange(len(permutation)) / len(permutation)
    return drawn


def constant(count: int, size: int) -> Tensor:
    """Pictures of one number each, that of the picture."""
    return torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, 3, size, size).contiguous()


def uniform(batch: int, seed: int = 0) -> Callable[..., Tensor]:
    """What the host gives to `mix`."""
    return lambda key, *shape: sample_uniform(
        seed, torch.zeros(batch, dtype=torch.int64), torch.arange(batch), key, shape
    )


def augmentation(batch: int = 8, size: int = 16, crops: int = 2, **options: Any) -> PatchMix:
    context = Context(views={"global": ViewShape(crops, size)}, batch_size=batch, patch_size=4)
    return PatchMix(PatchMixOptions(source="global", **options), context)


def mixed_parts(batch: int, images: int) -> Parts:
    return Parts(ring_partners(batch, batch, images, CPU), torch.full((batch, images), 1 / images))


def near(*values: float, tolerance: float = 2e-6) -> Any:
    return pytest.approx(values if len(values) > 1 else values[0], abs=tolerance)


def thirds(*values: float, of: int) -> list[Any]:
    return [pytest.approx(value / of) for value in values]


class TestMixing:
    @pytest.mark.parametrize(
        ("batch", "images", "table"),
        [
            (4, 2, [[0, 1], [1, 2], [2, 3], [3, 0]]),
            (5, 3, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 1]]),
        ],
    )
    def test_an_image_is_made_of_itself_and_the_next_ones(self, batch, images, table):
        assert ring_partners(batch, batch, images, CPU).tolist() == table

    @pytest.mark.parametrize(
        ("images", "flat"), [(2, [0, 3, 2, 5, 4, 7, 6, 1]), (3, [0, 4, 8, 3, 7, 11, 6, 10, 2, 9, 1, 5])]
    )
    def test_groups_come_from_the_known_places(self, images, flat):
        rows = ring_partners(4, 4, images, CPU)
        assert (rows * images + torch.arange(images)).flatten().tolist() == flat

    def test_rings_stay_among_themselves(self):
        assert ring_partners(6, 3, 2, CPU).tolist() == [[0, 1], [1, 2], [2, 0], [3, 4], [4, 5], [5, 3]]

    @pytest.mark.parametrize(
        ("images", "row", "known"),
        [
            (2, 0, [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]]),
            (2, 3, [[3, 0, 0, 3], [0, 3, 3, 0], [0, 3, 3, 0], [3, 0, 0, 3]]),
            (3, 0, [[0, 1, 2, 0], [2, 0, 1, 2], [2, 1, 0, 0], [1, 2, 1, 0]]),
            (3, 2, [[2, 3, 0, 2], [0, 2, 3, 0], [0, 3, 2, 2], [3, 0, 3, 2]]),
        ],
    )
    def test_four_images_mix_to_the_known_ones(self, images, row, known):
        mixed = mix_patches(constant(4, 8), draw_groups(numbers(PERMUTATION), images), images, 2)
        assert mixed[row, 0, ::2, ::2].tolist() == known
        assert torch.equal(mixed[:, :, ::2, ::2], mixed[:, :, 1::2, 1::2])

    def test_patches_may_be_larger_than_the_backbones(self):
        mixed = mix_patches(constant(4, 8), draw_groups(numbers([2, 0, 3, 1]), 2), 2, 4)
        assert mixed[1, 0, ::4, ::4].tolist() == [[1, 2], [1, 2]]

    @given(some.integers(1, 5), some.integers(1, 7), some.sampled_from([1, 2, 4]), some.integers(0, 99))
    @settings(max_examples=40, deadline=None)
    def test_mixing_is_what_a_plain_loop_does(self, images, batch, patch_size, seed):
        generator = torch.Generator().manual_seed(seed)
        pictures, side = torch.rand(batch, 3, 8, 8, generator=generator), 8 // patch_size
        drawn = torch.rand(side * side, generator=generator)
        known, order, size = pictures.clone(), drawn.argsort().tolist(), side * side // images
        for place, position in enumerate(order):
            group = place // size if size and place < size * images else 0
            y, x = (patch_size * number for number in divmod(position, side))
            for image in range(batch):
                there = (slice(None), slice(y, y + patch_size), slice(x, x + patch_size))
                known[image][there] = pictures[(image + group) % batch][there]
        groups = draw_groups(drawn, images) if size else torch.zeros(side * side, dtype=torch.int64)
        assert torch.equal(mix_patches(pictures, groups, images, patch_size), known)

    @pytest.mark.parametrize(
        ("patches", "images", "counts"),
        [(196, 2, [98, 98]), (256, 2, [128, 128]), (36, 2, [18, 18]), (196, 3, [66, 65, 65]), (256, 3, [86, 85, 85])],
    )
    def test_groups_are_of_one_size_and_what_remains_is_the_images_own(self, patches, images, counts):
        assert draw_groups(torch.rand(patches), images).bincount().tolist() == counts

    def test_at_every_place_the_batch_keeps_its_values(self):
        pictures = torch.rand(8, 3, 16, 16)
        mixed = mix_patches(pictures, draw_groups(torch.rand(16), 3), 3, 4)
        assert torch.equal(mixed.sort(dim=0).values, pictures.sort(dim=0).values)

    def test_mixing_pixels_is_mixing_patches_that_are_embedded(self):
        embed, pictures = nn.Conv2d(3, 5, 4, 4), torch.rand(8, 3, 16, 16)
        groups = draw_groups(torch.rand(16), 2)
        before, after = mix_patches(pictures, groups, 2, 4), mix_patches(embed(pictures), groups, 2, 1)
        torch.testing.assert_close(embed(before), after, atol=1e-6, rtol=0)


class TestAugmentation:
    def test_every_patch_is_that_of_the_image_that_the_plan_names(self):
        pictures = torch.rand(2, 8, 3, 16, 16)
        mixed, plan = augmentation(images=3).mix(pictures, uniform(8))
        for crop, row, position in [(0, 0, 0), (0, 7, 5), (1, 3, 15), (1, 6, 9)]:
            there = tuple(slice(4 * at, 4 * at + 4) for at in divmod(position, 4))
            source = plan["rows"][crop, row, plan["patches"][crop, row, position]]
            assert torch.equal(mixed[crop, row][:, *there], pictures[crop, source][:, *there])

    def test_the_crops_are_mixed_by_orders_of_their_own_and_all_images_of_a_crop_by_one(self):
        _, plan = augmentation().mix(torch.rand(2, 8, 3, 16, 16), uniform(8))
        assert not torch.equal(plan["patches"][0], plan["patches"][1])
        assert (plan["patches"] == plan["patches"][:, :1]).all()

    def test_another_batch_and_another_epoch_are_mixed_by_other_orders(self):
        first, second = (augmentation().mix(torch.rand(2, 8, 3, 16, 16), uniform(8, seed))[1] for seed in (0, 1))
        assert not torch.equal(first["patches"], second["patches"])

    @pytest.mark.parametrize("options", [{"images": 1}, {"probability": 0.0}])
    def test_without_mixing_the_images_are_what_they_were_and_whole(self, options):
        pictures = torch.rand(2, 8, 3, 16, 16)
        mixed, plan = augmentation(**options).mix(pictures, uniform(8))
        assert torch.equal(mixed, pictures)
        parts = Parts(plan["rows"][0], plan["shares"][0])
        assert torch.equal(overlap(parts, parts.of_all(), 8), torch.eye(8))

    def test_as_many_rings_are_mixed_as_the_probability_says(self):
        _, plan = augmentation(600, ring=3, probability=0.3).mix(torch.rand(2, 600, 3, 16, 16), uniform(600))
        mixed = plan["shares"][..., 0] < 1
        assert mixed[0, ::3].float().mean().item() == pytest.approx(0.3, abs=0.08)
        assert torch.equal(mixed[0], mixed[1])
        assert torch.equal(mixed[0], plan["patches"][0].any(dim=1))

    def test_a_ring_is_mixed_as_it_is_when_it_is_all_there_is(self):
        pictures, chance = torch.rand(2, 8, 3, 16, 16), uniform(8)
        whole_batch, _ = augmentation(ring=4).mix(pictures, chance)
        second, _ = augmentation(4).mix(pictures[:, 4:], lambda key, *shape: chance(key, *shape)[4:])
        assert torch.equal(whole_batch[:, 4:], second)

    def test_the_size_of_patches_may_be_given(self):
        _, plan = augmentation(patch_size=8).mix(torch.rand(2, 8, 3, 16, 16), uniform(8))
        assert plan["patches"].shape == (2, 8, 4)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"images": 5}, "8 images are too few to mix 5 of them: with fewer than 9"),
            ({"ring": 2}, "2 images are too few to mix 2 of them: with fewer than 3"),
            ({"ring": 3}, "8 images at a time, which are not whole rings of 3"),
            ({"patch_size": 5}, "16 pixels are not whole patches of 5"),
            ({"patch_size": 16, "images": 2}, "1 patches cannot show 2 images"),
        ],
    )
    def test_what_cannot_be_mixed_is_refused_with_the_reason(self, options, said):
        with pytest.raises(UserError, match=said):
            augmentation(**options)

    def test_a_batch_that_is_too_small_only_after_accumulation_is_refused_when_it_comes(self):
        with pytest.raises(UserError, match="2 images are too few"):
            augmentation().mix(torch.rand(2, 2, 3, 16, 16), uniform(2))

    def test_a_backbone_without_patches_needs_to_be_told_their_size(self):
        with pytest.raises(UserError, match="no patches to mix by"):
            PatchMix(PatchMixOptions(source="global"), Context(views=VIEWS, batch_size=8))


class TestTargets:
    def test_four_images_have_the_known_targets(self):
        parts = mixed_parts(4, 2)
        assert overlap(parts, None, 4).tolist() == [
            [0.5, 0.5, 0, 0],
            [0, 0.5, 0.5, 0],
            [0, 0, 0.5, 0.5],
            [0.5, 0, 0, 0.5],
        ]
        mix_to_mix = [[0.5, 0.25, 0, 0.25], [0.25, 0.5, 0.25, 0], [0, 0.25, 0.5, 0.25], [0.25, 0, 0.25, 0.5]]
        assert overlap(parts, parts, 4).tolist() == mix_to_mix

    def test_three_of_eight_images_have_the_known_targets(self):
        parts = mixed_parts(8, 3)
        assert overlap(parts, None, 8)[0].tolist() == thirds(1, 1, 1, 0, 0, 0, 0, 0, of=3)
        assert overlap(parts, parts, 8)[0].tolist() == thirds(3, 2, 1, 0, 0, 0, 1, 2, of=9)

    @pytest.mark.parametrize("images", [1, 2, 3, 4, 5])
    def test_mixed_images_overlap_by_their_distance(self, images):
        parts = mixed_parts(12, images)
        row = torch.zeros(12)
        for distance in range(1 - images, images):
            row[distance] += (1 - abs(distance) / images) / images
        torch.testing.assert_close(overlap(parts, parts, 12)[0], row)

    @pytest.mark.parametrize(("batch", "images"), [(8, 2), (8, 3), (16, 5)])
    def test_mix_to_mix_is_mix_to_origin_times_itself(self, batch, images):
        parts = mixed_parts(batch, images)
        single, double = overlap(parts, None, batch), overlap(parts, parts, batch)
        torch.testing.assert_close(double, single @ single.T)
        torch.testing.assert_close(double, double.T)
        torch.testing.assert_close(double.sum(1), torch.ones(batch))

    def test_offsets_that_meet_on_both_sides_of_a_small_ring_are_added(self):
        parts = mixed_parts(4, 3)
        assert overlap(parts, parts, 4)[0].tolist() == thirds(3, 2, 2, 2, of=9)

    @pytest.mark.parametrize(
        ("columns", "on", "off"), [(4, 0.925, 0.025), (512, 0.9001953, 0.000195313), (1024, 0.9000977, 0.0000976563)]
    )
    def test_smoothed_one_hot_targets_have_the_known_values(self, columns, on, off):
        row = smooth(overlap(whole(columns, CPU), None, columns), 0.1)[0]
        assert (row[0].item(), row[1].item()) == near(on, off, tolerance=1e-7)

    def test_smoothed_mixed_targets_have_the_known_values(self):
        parts = mixed_parts(4, 2)
        assert smooth(overlap(parts, None, 4), 0.1)[0].tolist() == [near(v) for v in (0.475, 0.475, 0.025, 0.025)]
        assert smooth(overlap(parts, parts, 4), 0.1)[0].tolist() == [near(v) for v in (0.475, 0.25, 0.025, 0.25)]

    def test_the_targets_of_a_second_rank_lie_in_its_columns(self):
        parts = Parts(ring_partners(4, 4, 2, CPU) + 4, torch.full((4, 2), 0.5))
        everyone = Parts(torch.cat([parts.rows - 4, parts.rows]), parts.shares.repeat(2, 1))
        for targets in (overlap(parts, None, 8), overlap(parts, everyone, 8)):
            assert not targets[:, :4].any()
            torch.testing.assert_close(targets[:, 4:].sum(1), torch.ones(4))

    @pytest.mark.parametrize(("images", "single", "double"), [(2, 0.693147, 1.039721), (3, 1.098612, 1.522955)])
    def test_no_loss_can_fall_below_the_known_entropy(self, images, single, double):
        parts = mixed_parts(16, images)
        assert entropy(overlap(parts, None, 16)).item() == near(single)
        assert entropy(overlap(parts, parts, 16)).item() == near(double)

    @pytest.mark.parametrize(("columns", "floor"), [(512, 0.947073), (1024, 1.017241), (64, 0.729476)])
    def test_smoothing_raises_the_floor_to_the_known_value(self, columns, floor):
        assert entropy(smooth(overlap(whole(columns, CPU), None, columns), 0.1)).item() == near(floor)


Q = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], dtype=torch.float64)
K = torch.tensor([[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1], [1, 1, 0]], dtype=torch.float64)
MQ = torch.tensor([[1.0, 1, 0], [0, 1, 1], [1, 0, 2], [2, 1, 0]], dtype=torch.float64)
MK = torch.tensor([[1, 1, 0.5], [0.5, 1, 1], [1, 0.5, 1], [1, 0, 0.5]], dtype=torch.float64)


def losses_of(
    q: Tensor, k: Tensor, mq: Tensor, mk: Tensor, temperature: float = 0.2, smoothing: float = 0.1, images: int = 2
) -> list[Tensor]:
    """The three losses of raw features of one process."""
    parts = mixed_parts(len(q), images)
    targets = [overlap(whole(len(q), CPU), None, len(q)), overlap(parts, None, len(q)), overlap(parts, parts, len(q))]
    targets[0] = smooth(targets[0], smoothing)
    q, k, mq, mk = (nn.functional.normalize(rows, dim=-1) for rows in (q, k, mq, mk))
    pairs = [(q, k), (mq, k), (mq, mk)]
    return [soft_contrast(*pair, t.to(q.dtype), temperature) for pair, t in zip(pairs, targets)]


def total(terms: list[Tensor]) -> Tensor:
    return terms[0] + 0.5 * terms[1] + 0.5 * terms[2]


class TestContrast:
    def test_four_rows_have_the_known_losses(self):
        terms = losses_of(Q, K, MQ, MK)
        assert [term.item() for term in terms] == [near(v) for v in (0.714355, 1.351598, 1.198457)]
        assert total(terms).item() == near(1.989383)

    @pytest.mark.parametrize(
        ("temperature", "known"),
        [
            (0.1, (0.690477, 2.092134, 1.350571)),
            (0.07, (0.761920, 2.825697, 1.629277)),
            (1.0, (1.125825, 1.254146, 1.311743)),
        ],
    )
    def test_the_temperature_gives_the_known_losses(self, temperature, known):
        terms = losses_of(Q, K, MQ, MK, temperature)
        assert [term.item() for term in terms] == [near(value) for value in known]

    def test_without_smoothing_or_with_three_images_the_losses_are_the_known_ones(self):
        assert losses_of(Q, K, MQ, MK, smoothing=0.0)[0].item() == near(0.544990)
        assert [term.item() for term in losses_of(Q, K, MQ, MK, images=3)[1:]] == [near(2.017167), near(1.534983)]

    def test_orthogonal_rows_have_the_known_losses(self):
        eye = torch.eye(4, dtype=torch.float64)
        assert [term.item() for term in losses_of(eye, eye, eye, eye)] == [
            near(value) for value in (0.395012, 2.520012, 2.520012)
        ]
        targets = overlap(mixed_parts(4, 2), None, 4).double()
        assert [term.item() for term in losses_of(eye, eye, targets, targets)[1:]] == [near(0.721874), near(1.407779)]

    def test_alike_rows_have_the_logarithm_of_the_keys(self):
        same = torch.ones(512, 3, dtype=torch.float64)
        assert total(losses_of(same, same, same, same)).item() == near(12.476649)

    def test_the_gradients_are_the_known_ones_and_keys_have_none(self):
        q, k, mq, mk = (rows.clone().requires_grad_() for rows in (Q, K, MQ, MK))
        total(losses_of(q, k, mq, mk)).backward()
        known_q = [
            [0, 0.040859, 0.041423],
            [0.248720, 0, -0.166439],
            [-0.052071, 0.056338, 0],
            [-0.107796, -0.107796, 0.215592],
        ]
        known_mq = [
            [0.065868, -0.065868, -0.070188],
            [-0.044445, 0.105092, -0.105092],
            [-0.059476, -0.073565, 0.029738],
            [-0.022275, 0.044551, 0.007364],
        ]
        torch.testing.assert_close(q.grad, torch.tensor(known_q, dtype=torch.float64), atol=1e-6, rtol=0)
        torch.testing.assert_close(mq.grad, torch.tensor(known_mq, dtype=torch.float64), atol=1e-6, rtol=0)
        assert k.grad is None
        assert mk.grad is None

    def test_the_gradient_is_that_of_finite_differences(self):
        def loss(mq: Tensor) -> Tensor:
            return total(losses_of(Q, K, mq, MK))

        assert torch.autograd.gradcheck(loss, (MQ.clone().requires_grad_(),))


class Given(nn.Module):
    """Heads that hand on vectors that are given by the name of their view."""

    def __init__(self, queries: dict[str, Tensor], keys: dict[str, Tensor]) -> None:
        super().__init__()
        self.given = (queries, keys)

    def queries(self, step: Any, view: str) -> Tensor:
        return nn.functional.normalize(self.given[0][view], dim=-1)

    def keys(self, step: Any, view: str) -> Tensor:
        return nn.functional.normalize(self.given[1][view], dim=-1)


def given_loss(options: Any, queries: dict[str, Tensor], keys: dict[str, Tensor]) -> float:
    """A loss on vectors of four images, mixed in pairs."""
    loss = SimilarityContrast(options, Context(width=4))
    loss.heads = Given(queries, keys)
    parts = mixed_parts(4, 2)
    plan = {"rows": parts.rows.expand(2, -1, -1), "shares": parts.shares.double().expand(2, -1, -1)}
    step = SimpleNamespace(plan=lambda group: plan, column=lambda name: torch.arange(4), log=lambda *_: None)
    return loss(step).item()


class TestLosses:
    def test_each_loss_compares_the_views_of_its_equation(self):
        queries, keys = {"global:0": Q, "mixed:1": MQ}, {"global:0": K, "global:1": K, "mixed:0": MK}
        assert given_loss(OriginToOriginOptions(**SMALL), queries, keys) == near(0.714355)
        assert given_loss(MixToOriginOptions(**SMALL), queries, keys) == near(1.351598)
        assert given_loss(MixToMixOptions(**SMALL), queries, keys) == near(1.198457)

    def test_small_crops_ask_for_both_large_ones(self):
        small, keys = torch.stack([MQ, Q]), {"global:0": K, "global:1": MK}
        whole_crops = {"global:0": Q, "local": small}
        alone = given_loss(OriginToOriginOptions(**SMALL), whole_crops, keys)
        both = given_loss(OriginToOriginOptions(local_views="local", local_weight=2.0, **SMALL), whole_crops, keys)
        assert both - alone == near(2 * 1.879544)
        mixed = {"mixed:1": MQ, "small": small}
        alone = given_loss(MixToOriginOptions(**SMALL), mixed, keys)
        assert given_loss(MixToOriginOptions(local_views="small", **SMALL), mixed, keys) - alone == near(3.268205)

    def test_a_symmetric_loss_is_the_mean_of_both_ways(self):
        there = {"queries": {"mixed:1": MQ}, "keys": {"mixed:0": MK}}
        back = {"queries": {"mixed:1": K}, "keys": {"mixed:0": Q}}
        one, other = (given_loss(MixToMixOptions(**SMALL), **views) for views in (there, back))
        both = {"queries": {"mixed:1": MQ, "mixed:0": K}, "keys": {"mixed:0": MK, "mixed:1": Q}}
        assert given_loss(MixToMixOptions(symmetric=True, **SMALL), **both) == near((one + other) / 2)

    def test_a_symmetric_loss_reads_both_crops_of_both_networks(self):
        reads = MixToOriginOptions(symmetric=True, local_views="small").reads()
        assert reads.student == ("mixed:1", "mixed:0", "small")
        assert reads.teacher == ("global:0", "global:1")
        assert reads.plans == ("mixed", "small")

    @pytest.mark.parametrize("options", [OriginToOriginOptions, MixToOriginOptions, MixToMixOptions])
    def test_a_group_with_a_single_crop_is_refused(self, options):
        single = {"global": ViewShape(1, 16), "mixed": ViewShape(1, 16)}
        with pytest.raises(UserError, match="nothing to compare"):
            SimilarityContrast(options(**SMALL), make_context(single, width=8))

    def test_the_losses_are_full_precision_inside_autocast(self):
        losses, step = three_losses(), mixed_step()
        with torch.autocast("cpu", torch.bfloat16):
            assert [loss(step).dtype for loss in losses] == [torch.float32] * 3


def mixed_step(**options: Any) -> Any:
    """A step of six images whose mixed group is mixed."""
    step = make_step(VIEWS)
    mix = PatchMix(PatchMixOptions(source="global", **options), make_context(VIEWS, patch_size=8))
    step.views["mixed"][:], step.plans["mixed"] = mix.mix(step.images("global"), uniform(6))
    return step


def three_losses(**heads: Any) -> list[SimilarityContrast]:
    context = make_context(VIEWS)
    torch.manual_seed(0)
    shape = with_backbone(context, make_backbone(context))
    kinds = (OriginToOriginOptions, MixToOriginOptions, MixToMixOptions)
    return [SimilarityContrast(kind(**{**SMALL, **heads}), shape) for kind in kinds]


class TestHeads:
    def test_losses_of_one_model_share_their_heads_and_those_of_another_have_their_own(self):
        first, second = three_losses(), three_losses()
        assert first[0].heads is first[1].heads is first[2].heads
        assert first[0].heads is not second[0].heads

    def test_losses_may_have_heads_of_their_own(self):
        context = make_context(VIEWS, width=8)
        one, other = (
            SimilarityContrast(MixToMixOptions(heads=name, **SMALL), context) for name in ("patchmix", "other")
        )
        assert one.heads is not other.heads

    def test_losses_that_share_heads_must_agree_on_their_sizes(self):
        context = make_context(VIEWS, width=8)
        SimilarityContrast(OriginToOriginOptions(**SMALL), context)
        with pytest.raises(UserError, match="one loss has hidden = 16 and another 4096") as refused:
            SimilarityContrast(MixToMixOptions(), context)
        assert 'heads = "other"' in refused.value.hint

    def test_a_view_goes_through_the_heads_once_a_step(self):
        losses, step, calls = three_losses(), mixed_step(), []
        losses[0].heads.predictor.register_forward_hook(lambda *_: calls.append("query"))
        losses[0].heads.projector.target.register_forward_hook(lambda *_: calls.append("key"))
        for loss in losses:
            loss(step)
        assert sorted(calls) == ["key"] * 3 + ["query"] * 2

    def test_the_student_and_its_heads_learn_and_the_teacher_does_not(self):
        losses, step = three_losses(), mixed_step()
        sum(loss(step) for loss in losses).backward()
        heads = losses[0].heads
        assert all(p.grad is not None for p in (*heads.projector.online.parameters(), *heads.predictor.parameters()))
        assert all(p.grad is None for p in heads.projector.target.parameters())
        assert all(p.grad is None for p in step.teacher_backbone.parameters())

    @pytest.mark.parametrize(("width", "projector"), [(192, 18_628_608), (384, 19_415_040), (768, 20_987_904)])
    def test_the_heads_have_the_sizes_of_moco_v3(self, width, projector):
        with torch.device("meta"):
            heads = SimilarityContrast(OriginToOriginOptions(), Context(width=width)).heads
        sizes = [sum(p.numel() for p in head.parameters()) for head in (heads.projector.online, heads.predictor)]
        assert sizes == [projector, 2_105_344]
        assert not any(name.endswith("bias") for name, m in heads.predictor.named_parameters() if name.startswith("3"))

    def test_the_first_losses_are_near_those_of_chance(self):
        torch.manual_seed(0)
        heads = SimilarityContrast(MixToMixOptions(hidden=512), Context(width=64)).heads
        queries, keys = heads.predicted(torch.randn(64, 64)), heads.projected(torch.randn(64, 64))
        parts = mixed_parts(64, 2)
        for targets in (overlap(parts, None, 64), overlap(parts, parts, 64)):
            assert soft_contrast(queries, keys, targets, 0.2).item() == pytest.approx(math.log(64), abs=0.3)


def pretraining(recipe: str, *flags: str, samples: int = 50_000) -> tuple[Any, Context, Pretraining]:
    loaded = load_recipe(recipe, flags)
    context = context_of(loaded, samples=samples)
    with torch.device("meta"):
        return loaded, context, build_pretraining(loaded, context, build_backbone(loaded, context))


class TestRecipes:
    @pytest.mark.parametrize(
        ("name", "backbone", "learning"),
        [
            ("vit_tiny-cifar10", 5_390_784, 26_124_736),
            ("vit_small-cifar100", 21_398_400, 42_918_784),
            ("vit_base-cifar10", 85_264_128, 108_357_376),
            ("vit_small-imagenet", 21_665_664, 43_186_048),
            ("vit_base-imagenet", 85_798_656, 108_891_904),
        ],
    )
    def test_a_recipe_has_the_known_number_of_parameters(self, name, backbone, learning):
        _, _, model = pretraining(f"patchmix/{name}", samples=1_281_167)
        assert sum(p.numel() for p in model.student.parameters()) == backbone
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == learning
        assert model.student.heads == (3 if "tiny" in name else 12)

    @pytest.mark.parametrize(
        ("step", "known"),
        [(0, 0.0), (1, 1.031034e-7), (9699, 1e-3), (9700, 1e-3), (43650, 5.005e-4), (77599, 1.0000005e-6)],
    )
    def test_the_rate_of_a_vit_small_on_cifar_is_the_known_one(self, step, known):
        recipe = load_recipe("patchmix/vit_small-cifar10")
        rate = learning_rate(recipe.optimizer, context_of(recipe, samples=50_000))
        assert rate.at(step) == pytest.approx(known, rel=2e-6)

    @pytest.mark.parametrize(
        ("name", "peak"),
        [
            ("vit_tiny-cifar10", 4e-3),
            ("vit_base-cifar100", 1.5e-3),
            ("vit_small-imagenet", 2e-3),
            ("vit_base-imagenet", 3e-3),
        ],
    )
    def test_the_peak_of_the_rate_is_the_known_one(self, name, peak):
        recipe = load_recipe(f"patchmix/{name}")
        assert learning_rate(recipe.optimizer, context_of(recipe, samples=50_000)).peak == pytest.approx(peak)

    @pytest.mark.parametrize(("epoch", "momentum"), [(0, 0.996), (200, 0.996585786), (400, 0.998), (600, 0.999414214)])
    def test_the_momentum_of_a_vit_small_on_cifar_is_the_known_one_all_epoch_long(self, epoch, momentum):
        schedule = load_recipe("patchmix/vit_small-cifar10").teacher.momentum
        for step in (0, 96):
            progress = Progress(97 * epoch + step, steps=97 * 800, steps_per_epoch=97)
            assert value_at(schedule, progress) == near(momentum, tolerance=1e-9)

    @pytest.mark.parametrize(
        ("name", "known"), [("vit_small-cifar10", (0.04, 0.22)), ("vit_tiny-cifar100", (0.02, 0.11))]
    )
    def test_the_decay_begins_and_is_halfway_as_known(self, name, known):
        decay = load_recipe(f"patchmix/{name}").optimizer.weight_decay
        found = [value_at(decay, Progress(97 * epoch, steps=97 * 800, steps_per_epoch=97)) for epoch in (0, 400)]
        assert found == [near(value) for value in known]

    def test_the_recipes_of_imagenet_weigh_small_crops_as_published(self):
        losses = {loss.name: loss.options for loss in load_recipe("patchmix/vit_base-imagenet").losses}
        first, second = losses["patchmix.origin_to_origin"], losses["patchmix.mix_to_origin"]
        assert (first.weight * first.local_weight, second.weight * second.local_weight) == (1.0, 1.0)


LOSSES: list[dict[str, Any]] = [
    {"name": "patchmix.origin_to_origin", **SMALL},
    {"name": "patchmix.mix_to_origin", "weight": 0.5, **SMALL},
    {"name": "patchmix.mix_to_mix", "weight": 0.5, **SMALL},
]
TABLES: dict[str, Any] = {
    "backbone": {"patch_size": 4},
    "views": {"mixed": {"augmentation": "patchmix", "source": "global", "ring": 4}},
    "loss": LOSSES,
    "teacher": {"export": True},
}


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Model, optimizer and backbone of a finished run."""
    newest = max((folder / "checkpoints").glob("step-*"))
    files = [newest / "model.safetensors", newest / "optimizer.safetensors", folder / "backbone.safetensors"]
    return {f"{path.name}:{name}": tensor for path in files for name, tensor in load_file(path).items()}


class TestRuns:
    def test_a_run_has_the_weighted_sum_of_the_three_losses(self, tiny_recipe, run_sslcli, tmp_path):
        done = run_sslcli("pretrain", tiny_recipe(**TABLES), "--output", "run")
        assert done.returncode == 0, done.stderr
        (line, *_) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        told = json.loads(line)
        parts = [told[f"patchmix_{name}"] for name in ("origin_to_origin", "mix_to_origin", "mix_to_mix")]
        assert told["loss"] == pytest.approx(parts[0] + parts[1] / 2 + parts[2] / 2, rel=1e-5)

    def test_mixing_and_shared_heads_resume_to_the_bit(self, tiny_recipe, tmp_path):
        mixed = {"augmentation": "patchmix", "source": "global", "ring": 4, "probability": 0.5}
        tables = {**TABLES, "views": {"mixed": mixed}, "backbone": {"patch_size": 4, "drop_path": 0.2}}
        recipe = tiny_recipe(**tables, train={"epochs": 3.0}, checkpoint={"every_steps": 4, "keep": 9})
        for name in ("whole", "parts"):
            assert run(["pretrain", str(recipe), "--output", str(tmp_path / name), "--quiet"]) == 0
        for file in (tmp_path / "parts" / "checkpoints" / "step-00000009").iterdir():
            file.unlink()  # the last checkpoint is lost, the one of step 8 is there
        assert run(["pretrain", "--resume", str(tmp_path / "parts")]) == 0
        whole_run, parts = (tensors_of(tmp_path / name) for name in ("whole", "parts"))
        assert whole_run.keys() == parts.keys()
        assert [name for name in parts if not parts[name].equal(whole_run[name])] == []

    def test_shared_heads_are_saved_once(self):
        losses = nn.ModuleDict({str(number): loss for number, loss in enumerate(three_losses())})
        saved = model_tensors(losses)
        assert {name.split(".")[0] for name in saved} == {"0"}
        fresh = nn.ModuleDict({str(number): loss for number, loss in enumerate(three_losses())})
        nn.init.zeros_(fresh["2"].heads.predictor[0].weight)
        restore_model(fresh, saved)
        assert torch.equal(fresh["1"].heads.predictor[0].weight, losses["0"].heads.predictor[0].weight)
        with pytest.raises(RuntimeError, match="Missing key"):
            restore_model(fresh, {name: tensor for name, tensor in saved.items() if "predictor.0" not in name})

    @pytest.mark.slow
    def test_two_processes_train_what_one_trains(self, tiny_recipe, run_sslcli, tmp_path):
        losses = [{**loss, "hidden": 32, "output": 16} for loss in LOSSES]
        recipe = tiny_recipe(**{**TABLES, "loss": losses}, optimizer={"name": "sgd", "lr": 0.05})
        for name, processes in (("one", 1), ("two", 2)):
            done = run_sslcli("pretrain", recipe, "--output", name, "--processes", processes)
            assert done.returncode == 0, done.stderr
        one, two = (tensors_of(tmp_path / name) for name in ("one", "two"))
        torch.testing.assert_close(two, one, atol=5e-4, rtol=1e-3)  # in 32 bits a ReLU may flip; in 64 see below

    def test_it_stands_beside_mugs_on_one_backbone(self, tiny_recipe, tmp_path):
        mugs = {"name": "mugs.group", "prototypes": 16, "hidden": 16, "bottleneck": 8}
        recipe = tiny_recipe(**{**TABLES, "loss": [mugs, LOSSES[2]]})
        assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0

    def test_a_loss_on_a_group_that_is_not_mixed_is_refused_before_training(self, tiny_recipe, capsys):
        recipe = tiny_recipe(loss=[{**LOSSES[2], "views": "global"}])
        assert run(["recipe", "check", str(recipe)]) == 2
        assert "mixed" in capsys.readouterr().err


@pytest.mark.slow
def test_two_ranks_have_the_mixed_images_losses_and_gradients_of_one(run_ranks, tmp_path):
    one, two = run_ranks(SCRIPT, tmp_path)
    assert {"mixed", "mixed.patches", "oto.loss", "mto.loss", "mtm.loss", "student.weight"} < one.keys()
    torch.testing.assert_close(two, one, rtol=1e-6, atol=1e-8)
    for name, known in (
        ("oto", (1.228017, 1.219194)),
        ("mto", (1.618020, 1.741463)),
        ("mtm", (1.517906, 1.499877)),
    ):
        assert two[f"worked.{name}"].tolist() == [near(value) for value in known]
