"""Colour, blur, solarising and erasing, against torchvision and against loops."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import RandomErasing
from torchvision.transforms.v2 import functional as reference

from sslcli.api import Context
from sslcli.data import colour
from sslcli.data.blur import blur, blur_matrix
from sslcli.data.draws import stack_draws, view_generator
from sslcli.data.erasing import Erasing, fill_noise, inside, normal
from sslcli.data.jitter import STEPS, ColourJitter, one_by_one, twist, twist_matrices
from sslcli.data.photometric import Photometric, to_images
from sslcli.data.selected import where_drawn
from sslcli.data.settings import Erase, Jitter, Photometry

ADJUST = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation, reference.adjust_hue)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def everything(**changes) -> Photometry:
    table = {"jitter": 0.8, "grey": 0.2, "blur": 0.5, "solarise": 0.2, "erase": 0.5, **changes}
    return Photometry.model_validate(table)


def finished(settings: Photometry, crops: Tensor, first: int = 0) -> Tensor:
    photometric = Photometric(settings, crops.shape[1], Context())
    rngs = [view_generator(0, 0, first + index, "global", 0) for index in range(len(crops))]
    drawn = stack_draws([[photometric.draw(rng.random(photometric.numbers).tolist(), 0) for rng in rngs]])
    return photometric(crops, {name: torch.from_numpy(array[0]) for name, array in drawn.items()})


@pytest.mark.parametrize(
    ("ours", "theirs", "factors"),
    [
        (colour.scale_brightness, ADJUST[0], [0.6, 1.4, 0.0, 1.0, 2.0, 1.1]),
        (colour.scale_contrast, ADJUST[1], [0.6, 1.4, 0.0, 1.0, 2.0, 1.1]),
        (colour.scale_saturation, ADJUST[2], [0.6, 1.4, 0.0, 1.0, 2.0, 1.1]),
        (colour.shift_hue, ADJUST[3], [-0.5, -0.1, 0.0, 0.1, 0.3, 0.5]),
    ],
)
def test_each_colour_operation_is_torchvisions_on_floats(images, ours, theirs, factors):
    expected = torch.stack([theirs(image, factor) for image, factor in zip(images, factors)])
    assert torch.allclose(ours(images, torch.tensor(factors)), expected, atol=2e-6)


def test_hue_leaves_grey_pixels_alone_and_turns_red_to_green_to_blue():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert torch.allclose(
        colour.shift_hue(red, torch.tensor([1 / 3])).flatten(), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6
    )
    flat = torch.full((1, 3, 2, 2), 0.4)
    assert torch.equal(colour.shift_hue(flat, torch.tensor([0.3])), flat)


def test_grey_is_torchvisions(images):
    assert torch.allclose(colour.grey(images), reference.rgb_to_grayscale(images, 3), atol=1e-6)


def test_solarise_inverts_from_128_of_255_on():
    levels = torch.tensor([0, 127, 128, 255], dtype=torch.uint8).view(1, 1, 4, 1).expand(1, 3, 4, 1)
    solarised = colour.solarise(to_images(levels.permute(0, 2, 3, 1)), 128.0 / 255.0)
    assert (solarised[0, 0, :, 0] * 255).round().tolist() == [0, 127, 127, 0]


def test_exact_jitter_is_torchvisions_in_each_samples_own_order(images):
    factors = torch.tensor([[0.7, 1.3, 0.8, 0.1]] * 3 + [[1.4, 0.6, 1.2, -0.1]] * 3)
    order = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1], [0, 3, 1, 2], [3, 1, 2, 0]])
    expected = []
    for image, factor, places in zip(images, factors.tolist(), order.tolist()):
        for kind in places:
            image = ADJUST[kind](image, factor[kind])
        expected.append(image)
    assert torch.allclose(one_by_one(STEPS["torchvision"], images, factors, order), torch.stack(expected), atol=5e-6)


def test_the_fast_form_without_hue_is_the_exact_one_where_nothing_is_clamped(images):
    mild = 0.4 + 0.2 * images
    factors = torch.tensor([[1.1, 0.8, 0.7, 0.0]]).expand(6, 4)
    order = torch.stack([torch.randperm(4) for _ in range(6)])
    everyone = torch.ones(6, dtype=torch.bool)
    assert torch.allclose(
        twist(mild, everyone, factors, order), one_by_one(STEPS["torchvision"], mild, factors, order), atol=1e-5
    )


def test_the_colour_matrix_is_the_product_of_its_steps_written_as_a_loop():
    colours, factors, order = torch.rand(50, 3), [0.8, 1.3, 0.6, 0.07], [3, 1, 0, 2]
    luma = torch.tensor(colour.LUMA)
    x = colours
    for kind in order:
        grey, mean = (x @ luma)[:, None], (x @ luma).mean()
        target = {0: torch.zeros(1), 1: mean, 2: grey}.get(kind)
        x = turned(x, factors[3]) if target is None else factors[kind] * x + (1 - factors[kind]) * target
    own, shared = twist_matrices(torch.tensor([factors]), torch.tensor([order]))
    assert torch.allclose(colours @ own[0].T + shared[0] @ colours.mean(0), x, atol=1e-5)


def turned(colours: Tensor, share: float) -> Tensor:
    yiq = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
    y, i, q = (colours @ yiq.T).unbind(1)
    cos, sin = math.cos(2 * math.pi * share), math.sin(2 * math.pi * share)
    return torch.stack([y, cos * i + sin * q, cos * q - sin * i], 1) @ torch.linalg.inv(yiq).T


@pytest.mark.parametrize(("pure", "rises", "falls"), [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_fast_hue_goes_the_same_way_round_as_the_exact_one(pure, rises, falls):
    image = torch.full((1, 3, 1, 1), 0.4)
    image[0, pure] = 0.6
    factors, order = torch.tensor([[1.0, 1.0, 1.0, 0.08]]), torch.arange(4)[None]
    for turned_image in (
        one_by_one(STEPS["torchvision"], image, factors, order)[0].flatten(),
        twist(image, torch.tensor([True]), factors, order)[0].flatten(),
    ):
        assert turned_image[rises] > turned_image[falls] + 0.05


def test_jitter_draws_within_its_ranges_and_every_order():
    jitter = ColourJitter(Jitter(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1))
    drawn = [jitter.draw(view_generator(0, 0, i, "g", 0).random(9).tolist(), 0) for i in range(1000)]
    factors = torch.tensor([draw["jitter"].tolist() for draw in drawn])
    assert factors.amin(0).tolist() == pytest.approx([0.6, 0.0, 0.8, -0.1], abs=0.02)
    assert factors.amax(0).tolist() == pytest.approx([1.4, 2.5, 1.2, 0.1], abs=0.02)
    assert len({tuple(draw["jitter_order"]) for draw in drawn}) == 24
    assert sum(draw["jittered"] for draw in drawn) / 1000 == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("size", [2, 7, 12, 33, 97])
def test_blur_is_torchvisions_with_the_largest_kernel(size):
    images = torch.rand(4, 3, size, size)
    sigma = [0.1, 0.5, 1.0, 2.0]
    expected = [reference.gaussian_blur(image, [2 * size - 1] * 2, [s, s]) for image, s in zip(images, sigma)]
    assert torch.allclose(blur(images, torch.tensor(sigma), size - 1), torch.stack(expected), atol=3e-6)


def test_a_sigma_of_zero_blurs_nothing(images):
    assert torch.equal(blur_matrix(torch.zeros(2), 5, 4), torch.eye(5).expand(2, 5, 5))
    assert torch.equal(blur(images, torch.zeros(6), 12), images)


def test_blur_in_blocks_is_the_whole_product():
    images, sigma = torch.rand(2, 3, 100, 100), torch.tensor([2.0, 0.7])
    weights = blur_matrix(sigma, 100, 12)
    assert torch.allclose(blur(images, sigma, 12), weights[:, None] @ images @ weights.mT[:, None], atol=1e-6)


def test_what_the_kernel_is_cut_off_at_cannot_be_seen():
    images, sigma = torch.rand(1, 3, 60, 60), torch.tensor([2.0])
    assert torch.allclose(blur(images, sigma, 12), blur(images, sigma, 59), atol=5e-7)


def test_a_picture_of_one_pixel_can_be_blurred():
    assert torch.equal(blur(torch.full((1, 3, 1, 1), 0.3), torch.tensor([2.0]), 12), torch.full((1, 3, 1, 1), 0.3))


def test_samples_that_are_not_drawn_stay_the_same_to_the_bit(images):
    coin = torch.tensor([True, False, True, False, False, True])
    done = where_drawn(coin, lambda some, by: some + by.view(-1, 1, 1, 1), images, torch.arange(6.0))
    assert torch.equal(done[~coin], images[~coin])
    assert torch.equal(done[coin], images[coin] + torch.tensor([0.0, 2.0, 5.0]).view(3, 1, 1, 1))


def test_the_device_form_that_computes_all_samples_is_the_same(images):
    on_meta = where_drawn(torch.ones(6, dtype=torch.bool, device="meta"), colour.grey, images.to("meta"))
    assert on_meta.shape == images.shape  # no question is asked that would make a device wait


def test_erased_boxes_are_distributed_as_torchvisions():
    erasing, theirs = Erasing(Erase(probability=(1.0,), ratio=(0.3, 3.3)), 32, (0.0,) * 3), RandomErasing(p=1.0)
    ours = torch.tensor([erasing.box(view_generator(0, 0, i, "g", 0).random(22).tolist()) for i in range(3000)]).float()
    params = [theirs.make_params([torch.zeros(3, 32, 32)]) for _ in range(3000)]
    expected = torch.tensor([[p["i"], p["j"], p["h"], p["w"]] for p in params]).float()
    assert torch.allclose(ours.mean(0), expected.mean(0), atol=0.7)
    assert torch.allclose(ours.std(0), expected.std(0), atol=0.7)


def test_noise_fills_the_box_only_and_is_normal(images):
    box = torch.tensor([[2, 3, 5, 4]]).expand(6, 4)
    many = images.repeat(100, 1, 1, 1)
    noisy = fill_noise(many, box.repeat(100, 1), torch.arange(600) * 7919)
    mask = inside(box[:1], 12)[0, 0]
    assert mask.sum() == 20
    assert torch.equal(noisy[:, :, ~mask], many[:, :, ~mask])
    assert noisy[:, :, mask].mean().abs() < 0.02
    assert noisy[:, :, mask].std() == pytest.approx(1.0, abs=0.02)


def test_noise_of_a_key_does_not_depend_on_the_rest_of_the_batch(images):
    box, key = torch.tensor([[0, 0, 6, 6]] * 6), torch.arange(6) + 100
    assert torch.equal(fill_noise(images, box, key)[4:5], fill_noise(images[4:5], box[4:5], key[4:5]))


def test_noise_is_that_of_the_whole_image_as_a_gpu_computes_it(images):
    box, key = torch.tensor([[0, 0, 6, 6], [3, 2, 4, 9]] * 3), torch.arange(6) + 100
    whole = normal(key[:, None], torch.arange(3 * 12 * 12)).view_as(images)
    assert torch.equal(fill_noise(images, box, key), whole.where(inside(box, 12), images))


@pytest.mark.parametrize(
    ("fill", "early", "seen"),
    [("zeros", False, 0.0), ("mean", False, 0.0), ("mean", True, 0.0), ("zeros", True, -0.485 / 0.229)],
)
def test_erasing_fills_before_or_after_normalising_as_asked(fill, early, seen):
    erase = {"probability": 1.0, "fill": fill, "before_normalise": early, "area": [0.3, 0.3], "ratio": [1.0, 1.0]}
    out = finished(Photometry.model_validate({"erase": erase}), torch.full((1, 20, 20, 3), 255, dtype=torch.uint8))
    filled = out[0, 0][out[0, 0] < 2.0]
    assert len(filled) == 11 * 11
    assert torch.allclose(filled, torch.tensor(seen), atol=1e-6)


def test_noise_before_normalising_is_as_wide_as_the_colours_spread():
    erase = {"probability": 1.0, "before_normalise": True, "area": [0.3, 0.3], "ratio": [1.0, 1.0]}
    crops = torch.full((50, 20, 20, 3), 255, dtype=torch.uint8)
    out = finished(Photometry.model_validate({"erase": erase}), crops)[:, 0]
    noise = out[(out - (1 - 0.485) / 0.229).abs() > 1e-5]
    assert noise.std() == pytest.approx(1 / 0.229, rel=0.05)


def test_without_operations_a_crop_is_only_normalised():
    crops = torch.randint(0, 256, (3, 8, 8, 3), dtype=torch.uint8)
    context = Context()
    expected = (crops / 255.0 - torch.tensor(context.mean)) / torch.tensor(context.std)
    assert torch.allclose(finished(Photometry(), crops), expected.permute(0, 3, 1, 2), atol=1e-6)


def test_switching_one_operation_off_leaves_the_others_as_they_were():
    photometric = [Photometric(everything(**change), 16, Context()) for change in ({}, {"blur": 0.0})]
    numbers = view_generator(0, 0, 3, "global", 0).random(Photometric.numbers).tolist()
    full, without = (one.draw(numbers, 0) for one in photometric)
    assert without["blur"] == 0.0
    assert all((full[name] == without[name]).all() if name in ("jitter", "erase") else True for name in full)
    assert (full["solarise"], full["grey"], full["erase_key"]) == tuple(
        without[name] for name in ("solarise", "grey", "erase_key")
    )


@pytest.mark.parametrize("form", ["fast", "torchvision", "deepmind"])
def test_a_samples_view_does_not_depend_on_the_rest_of_its_batch(form):
    crops = torch.randint(0, 256, (8, 16, 16, 3), dtype=torch.uint8)
    settings = everything(jitter={"probability": 0.8, "form": form})
    together = finished(settings, crops)
    apart = torch.cat([finished(settings, crops[:3]), finished(settings, crops[3:], first=3)])
    assert torch.allclose(together, apart, atol=1e-5)


def test_views_are_float32_under_autocast():
    crops = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8)
    plain = finished(everything(), crops)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside_autocast = finished(everything(), crops)
    assert torch.equal(plain, inside_autocast)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_cpus_views():
    crops = torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8)
    photometric = Photometric(everything(), 32, Context())
    rngs = [view_generator(0, 0, index, "global", 0) for index in range(8)]
    drawn = stack_draws([[photometric.draw(rng.random(photometric.numbers).tolist(), 0) for rng in rngs]])
    draws = {name: torch.from_numpy(array[0]) for name, array in drawn.items()}
    there = photometric(crops.cuda(), {name: draw.cuda() for name, draw in draws.items()})
    assert torch.allclose(there.cpu(), photometric(crops, draws), atol=1e-3)
