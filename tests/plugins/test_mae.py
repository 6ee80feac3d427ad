from functools import partial

import pytest
import torch
from sslcli_mae.loss import MaskedAutoencoder
from sslcli_mae.options import MaskedAutoencoderOptions
from timm.models.vision_transformer import Block
from torch import nn

from sslcli.api import Context, Progress, ViewShape
from sslcli.errors import UserError
from sslcli.nn import Backbone, Features, Step, patchify, random_masking, unpatchify
from sslcli.nn.positions import sincos_table
from sslcli.nn.rebuilding import masked_error


class SmallVit(Backbone):
    """A ViT of two blocks, with what the contract asks for and no more."""

    abilities = frozenset({"tokens", "masking"})
    width, depth, patch_size, grid, prefix_tokens = 16, 2, 4, (4, 4), 1

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(3, 16, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 16) * 0.02)
        self.register_buffer("positions", sincos_table(16, (4, 4)))
        self.blocks = nn.Sequential(*(Block(16, 2, qkv_bias=True) for _ in range(2)))
        self.norm = nn.LayerNorm(16, eps=1e-6)

    def embed(self, images):
        return self.project(images).flatten(2).transpose(1, 2) + self.positions

    def encode(self, tokens, *, keep=None, attend=None, columns=None):
        if keep is not None:
            tokens = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, 16))
        tokens = self.blocks(torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1))
        normed = self.norm(tokens)
        return Features(tokens, normed, 1, normed[:, 0])

    def features(self, images):
        return self.encode(self.embed(images))


def context(**changes):
    shape = {"width": 16, "depth": 2, "patch_size": 4, "grid": (4, 4), "prefix_tokens": 1}
    return Context(**{"views": {"global": ViewShape(1, 16)}, "image_size": 16, **shape, **changes})


def build(**options):
    torch.manual_seed(0)
    small = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    return MaskedAutoencoder(MaskedAutoencoderOptions(**{**small, **options}), context())


def make_step(backbone, images):
    samples = images.shape[1]
    columns = {"index": torch.arange(samples), "epoch": torch.zeros(samples, dtype=torch.int64)}
    unused = partial(pytest.fail, "mae reads images alone")
    return Step(
        backbone,
        backbone,
        Progress(0, 10, 5),
        0,
        columns,
        {"global": images},
        encode_student=unused,
        encode_teacher=unused,
    )


@pytest.fixture
def backbone():
    torch.manual_seed(1)
    return SmallVit()


@pytest.fixture
def images():
    return torch.randn(1, 3, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def silence(loss):
    """The decoder predicts zero."""
    nn.init.zeros_(loss.decoder.predict.weight)
    return loss


def test_only_hidden_patches_count_and_the_mean_is_over_them():
    error = torch.tensor([[1.0, 2, 3, 6]]).sqrt().unsqueeze(-1).expand(1, 4, 12)
    mask = torch.tensor([[0.0, 1, 1, 0]])
    assert masked_error(error, torch.zeros(1, 4, 12), mask).item() == pytest.approx(2.5)


def test_predicting_zero_costs_the_variance_of_normalised_patches(backbone):
    images = torch.randn(1, 2, 3, 16, 16) * 50
    loss = silence(build())(make_step(backbone, images))
    assert loss.item() == pytest.approx(47 / 48, abs=1e-5)  # 48 values a patch, unbiased variance


def test_the_loss_is_that_of_a_loop_over_hidden_patches(backbone, images):
    module, step = build(norm_pixels=False), make_step(backbone, images)
    masking = random_masking(step.uniform("mask", 16), 4)
    seen = backbone.encode(backbone.embed(images[0]), keep=masking.keep).normed
    predicted, target = module.decoder(seen, masking.restore), patchify(images[0], 4)
    hidden = [(b, n) for b in range(3) for n in range(16) if masking.mask[b, n]]
    by_hand = sum(((predicted[b, n] - target[b, n]) ** 2).mean().item() for b, n in hidden) / len(hidden)
    assert len(hidden) == 3 * 12
    assert module(step).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_encoding_does_not_depend_on_hidden_pixels(backbone, images):
    masking = random_masking(torch.rand(3, 16), 4)
    hidden = unpatchify(masking.mask[..., None].expand(-1, -1, 48), 4, (4, 4)).bool()
    changed = torch.where(hidden, 9.0, images[0])
    first, second = (backbone.encode(backbone.embed(i), keep=masking.keep).normed for i in (images[0], changed))
    assert torch.equal(first, second)


def test_pixels_that_are_seen_are_no_target(backbone, images):
    module, step = silence(build(norm_pixels=False)), make_step(backbone, images)
    mask = random_masking(step.uniform("mask", 16), 4).mask
    expected = patchify(images[0], 4).square().mean(-1)[mask == 1].mean()
    torch.testing.assert_close(module(step), expected)


def test_masks_belong_to_the_sample_not_to_the_batch(backbone, images):
    module, whole = build(), make_step(backbone, images)
    halves = []
    for rows in (slice(0, 1), slice(1, 3)):
        part = make_step(backbone, images[:, rows])
        part.columns = {name: column[rows] for name, column in whole.columns.items()}
        halves.append(module(part))
    torch.testing.assert_close(module(whole), (halves[0] + 2 * halves[1]) / 3)


def test_every_crop_has_a_mask_of_its_own_and_the_facts_of_its_sample(backbone, images):
    def encode(tokens, *, keep, columns):
        seen.append((keep, columns["index"]))
        return SmallVit.encode(backbone, tokens, keep=keep)

    seen, backbone.encode = [], encode
    build()(make_step(backbone, images.expand(2, -1, -1, -1, -1)))
    ((keep, numbers),) = seen
    assert keep.shape == (6, 4)
    assert not torch.equal(keep[:3], keep[3:])
    assert numbers.tolist() == [0, 1, 2, 0, 1, 2]


def test_backbone_and_decoder_learn(backbone, images):
    module = build()
    module(make_step(backbone, images)).backward()
    learning = [p for p in (*backbone.parameters(), *module.parameters()) if p.requires_grad]
    assert all(p.grad is not None for p in learning)
    assert backbone.cls_token.grad.abs().sum() > 0


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_the_error_that_is_logged_is_in_pixels_whatever_is_rebuilt(backbone, images, norm_pixels):
    module, step = silence(build(norm_pixels=norm_pixels)), make_step(backbone, images)
    module(step)
    mask = random_masking(step.uniform("mask", 16), 4).mask
    patches = patchify(images[0], 4)
    guess = patches.mean(-1, keepdim=True) if norm_pixels else 0.0
    torch.testing.assert_close(step.logs["pixel_error"], (patches - guess).square().mean(-1)[mask == 1].mean())


def test_the_loss_is_taken_in_full_precision_inside_autocast(backbone, images):
    with torch.autocast("cpu", torch.bfloat16):
        inside = silence(build())(make_step(backbone, images))
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, silence(build())(make_step(backbone, images)), rtol=1e-6, atol=0)


def test_it_learns_a_picture_by_heart(backbone, images):
    module, step = build(), make_step(backbone, images)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *module.parameters()], lr=1e-2)
    first = module(step).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = module(step)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.6 * first


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"mask_ratio": 0.99}, {}, "leaves none or all of 16 patches"),
        ({"mask_ratio": 0.01}, {"grid": (1, 1)}, "leaves none or all of 1 patches"),
        ({"decoder_width": 20, "decoder_heads": 16}, {}, "cannot be split into 16 heads"),
        ({}, {"views": {"global": ViewShape(1, 32)}}, "views.global of 32 px do not fill"),
    ],
)
def test_what_cannot_work_is_refused(options, changes, words):
    with pytest.raises(UserError, match=words) as refused:
        MaskedAutoencoder(MaskedAutoencoderOptions(**options), context(**changes))
    assert refused.value.hint


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_mask_ratio_must_lie_between_0_and_1(ratio):
    with pytest.raises(ValueError, match="mask_ratio"):
        MaskedAutoencoderOptions(mask_ratio=ratio)


def test_it_reads_images_alone():
    reads = MaskedAutoencoderOptions(views="whole").reads()
    assert (reads.student, reads.teacher, reads.images) == ((), (), ("whole",))
