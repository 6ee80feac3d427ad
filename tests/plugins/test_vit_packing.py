"""Crops of several sizes in one forward: the numbers of one forward for each size."""

import math

import pytest
import torch
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from sslcli_vit.packing import Layout, drop_images, pack, packable, packed_attention, packed_block
from timm.layers import Attention, DropPath, Mlp
from timm.models.vision_transformer import Block, ParallelScalingBlock
from torch import nn

from sslcli.api import Context
from sslcli.nn.experts import Experts, Route

SMALL = {"width": 24, "depth": 2, "heads": 2}
LARGE_AND_SMALL = ((2, 4), (3, 2))  # images, patches a side


def vit(model="vit_small_patch16_224", patch=16, **options):
    """A small network whose every parameter matters: layer scales and biases too."""
    torch.manual_seed(0)
    given = {"patch_size": patch, **SMALL, **options}
    backbone = Vit(VitOptions(model=model, **given), Context(image_size=4 * patch))
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return backbone


def crops_for(backbone):
    torch.manual_seed(1)
    return [torch.randn(count, 3, *[side * backbone.patch_size] * 2) for count, side in LARGE_AND_SMALL]


def tokens_for(backbone):
    return [backbone.embed(images) for images in crops_for(backbone)]


def together(backbone):
    return backbone.encode_together(tokens_for(backbone))


def apart(backbone):
    return [backbone.encode(tokens) for tokens in tokens_for(backbone)]


def gradients(backbone, features):
    """Of a sum over everything that a loss may take, every token with a weight of its own."""
    backbone.zero_grad()
    torch.manual_seed(2)
    parts = [tensor for found in features for tensor in (found.tokens, found.normed, found.pooled)]
    sum((part * torch.randn(part.shape)).mean() for part in parts).backward()
    return {name: p.grad.clone() for name, p in backbone.named_parameters() if p.grad is not None}


def check_equal(backbone):
    packed, expected = together(backbone), apart(backbone)
    for found, wanted in zip(packed, expected, strict=True):
        assert found.prefix == wanted.prefix
        for name in ("tokens", "normed", "pooled"):
            assert torch.allclose(getattr(found, name), getattr(wanted, name), atol=1e-5), name
    ours, theirs = gradients(backbone, packed), gradients(backbone, expected)
    assert ours.keys() == theirs.keys()
    assert {name: ours[name] for name in ours if not torch.allclose(ours[name], theirs[name], atol=1e-5)} == {}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"registers": 3},
        {"class_token": False},
        {"class_token": False, "registers": 2},
        {"pool": "mean"},
        {"positions": "sincos", "position_resize": "dino"},
        {"checkpointing": True},
    ],
)
def test_features_and_gradients_are_those_of_one_forward_a_size(options):
    check_equal(vit(**options))


@pytest.mark.parametrize(
    ("model", "patch"),
    [
        ("vit_small_patch14_dinov2", 14),  # layer scale
        ("vit_giant_patch14_dinov2", 14),  # gated MLP
        ("aimv2_1b_patch14_224", 14),  # SwiGLU, RMS norm
        ("beit3_base_patch16_224", 16),  # norms within attention and MLP
        ("vit_base_patch16_clip_224.openai", 16),  # a norm before the blocks
        ("vit_base_patch16_siglip_224", 16),  # no CLS
    ],
)
def test_those_of_named_models_too(model, patch):
    backbone = vit(model, patch)
    assert backbone.packs
    check_equal(backbone)


def test_three_groups_of_which_two_have_one_size_and_images_that_are_not_square():
    backbone = vit().eval()
    crops = [torch.randn(2, 3, 64, 64), torch.randn(1, 3, 64, 64), torch.randn(3, 3, 32, 48)]
    found = backbone.encode_together([backbone.embed(images) for images in crops])
    for images, features in zip(crops, found, strict=True):
        assert torch.allclose(features.normed, backbone.features(images).normed, atol=1e-5)


def test_attention_with_all_its_parts_is_that_of_timm():
    torch.manual_seed(0)
    parts = {"qk_norm": True, "scale_norm": True, "gated": True, "qkv_bias": True, "norm_layer": nn.LayerNorm}
    attention = Attention(24, num_heads=2, attn_head_dim=5, **parts)
    attention.scale = 5**-0.5
    groups = [torch.randn(2, 17, 24), torch.randn(3, 5, 24)]
    packed = packed_attention(attention, pack(groups), Layout.of(groups))
    expected = torch.cat([attention(group).flatten(0, 1) for group in groups])
    assert torch.allclose(packed, expected, atol=1e-6)


@pytest.mark.parametrize("part", ["attn_drop", "proj_drop"])
def test_dropouts_drop_while_training_and_only_then(part):
    torch.manual_seed(0)
    attention, groups = Attention(24, num_heads=2, **{part: 0.5}), [torch.randn(2, 17, 24), torch.randn(3, 5, 24)]
    flat, layout = pack(groups), Layout.of(groups)
    assert not torch.allclose(packed_attention(attention, flat, layout), packed_attention(attention, flat, layout))
    attention.eval()
    assert torch.equal(packed_attention(attention, flat, layout), packed_attention(attention, flat, layout))


def test_packing_and_splitting_lead_back():
    groups = [torch.randn(2, 17, 24), torch.randn(3, 5, 24)]
    layout = Layout.of(groups)
    assert layout.groups == ((2, 17), (3, 5))
    assert all(torch.equal(one, two) for one, two in zip(groups, layout.split(pack(groups)), strict=True))


def test_drop_path_draws_once_for_each_image_and_scales_what_stays():
    torch.manual_seed(0)
    layout = Layout(((1500, 3), (2500, 2)))
    kept = drop_images(DropPath(0.25), torch.ones(1500 * 3 + 2500 * 2, 4), layout)
    for images in layout.split(kept):
        assert torch.equal(images, images[:, :1, :1].expand_as(images))  # whole images
        assert images.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
        share = (images[:, 0, 0] > 0).float().mean().item()
        assert share == pytest.approx(0.75, abs=4 * math.sqrt(0.25 * 0.75 / len(images)))


def test_every_image_has_two_draws_of_its_own_in_a_block():
    torch.manual_seed(0)
    block, groups = Block(8, 2, drop_path=0.5), [torch.randn(64, 5, 8), torch.randn(64, 2, 8)]
    flat, layout = pack(groups), Layout.of(groups)
    seen = set()
    for before, after in zip(groups, layout.split(packed_block(block, flat, layout)), strict=True):
        for image, found in zip(before, after, strict=True):
            seen.add(draws_of(block, image, found))
    assert seen == {(0.0, 0.0), (0.0, 2.0), (2.0, 0.0), (2.0, 2.0)}


def draws_of(block, image, found):
    """By what a block multiplied the two residuals of an image `[N, D]`: 0, or 1 / 0.5."""
    for first in (0.0, 2.0):
        attended = image + first * block.attn(block.norm1(image[None]))[0]
        for second in (0.0, 2.0):
            if torch.allclose(found, attended + second * block.mlp(block.norm2(attended)), atol=1e-5):
                return first, second
    raise AssertionError("neither kept whole nor lost whole")


def test_drop_path_does_nothing_in_evaluation():
    check_equal(vit(drop_path=0.9).eval())


def test_checkpointing_recomputes_with_the_same_draws():
    found = []
    for checkpointing in (False, True):
        backbone = vit(drop_path=0.5, checkpointing=checkpointing)
        torch.manual_seed(3)
        found.append(gradients(backbone, together(backbone)))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_checkpointing_keeps_less_for_the_backward_pass():
    def bytes_kept(checkpointing):
        kept, backbone = {}, vit(checkpointing=checkpointing)

        def note(tensor):
            kept[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            together(backbone)
        return sum(kept.values())

    assert bytes_kept(True) < 0.7 * bytes_kept(False)


def test_under_autocast_the_precision_is_that_of_one_forward_a_size():
    backbone = vit().eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        packed, expected = together(backbone), apart(backbone)
    exact = apart(backbone)
    for found, wanted, full in zip(packed, expected, exact, strict=True):
        assert (found.tokens.dtype, found.normed.dtype) == (wanted.tokens.dtype, wanted.normed.dtype)
        error = (wanted.tokens - full.tokens).abs().max()
        assert (found.tokens - full.tokens).abs().max() < 2 * error


def test_it_is_one_graph_to_the_compiler():
    backbone, explained = vit(drop_path=0.5), torch._dynamo.utils.counters
    torch._dynamo.reset()
    explained.clear()
    compiled = torch.compile(backbone.encode_together, backend="eager", fullgraph=True)
    torch.manual_seed(4)
    found = compiled(tokens_for(backbone))
    assert [features.normed.shape for features in found] == [(2, 17, 24), (3, 5, 24)]
    assert explained["stats"]["unique_graphs"] == 1
    backbone.eval()
    assert torch.allclose(compiled(tokens_for(backbone))[1].normed, apart(backbone)[1].normed, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda backbone: backbone.replace_mlp(1, lambda mlp: Experts(mlp, nn.Identity(), 2)),
        lambda backbone: backbone.replace_mlp(0, lambda mlp: nn.Sequential(mlp)),
        lambda backbone: setattr(backbone.model.blocks[1], "attn", nn.Identity()),
        lambda backbone: setattr(backbone.model.blocks[0], "__class__", type("Other", (Block,), {})),
    ],
)
def test_blocks_that_may_do_more_are_not_packed(change):
    backbone = vit()
    assert backbone.packs
    change(backbone)
    assert not backbone.packs


@pytest.mark.parametrize("model", ["vit_base_patch16_rpn_224", "vit_small_patch16_18x2_224", "vit_base_patch16_xp_224"])
def test_models_of_other_blocks_still_encode_sizes_one_by_one(model):
    backbone = vit(model)
    assert not backbone.packs
    check_equal(backbone)


def test_only_timms_plain_block_is_packable():
    assert packable(Block(8, 2))
    assert not packable(ParallelScalingBlock(8, 2))
    assert not packable(Mlp(8))


def test_experts_are_told_the_facts_of_their_own_images():
    told = []

    class Routing(nn.Module):
        def forward(self, tokens, columns):
            told.append(columns["index"].tolist())
            return Route(tokens.new_full((*tokens.shape[:2], 2), 0.5))

    backbone = vit()
    backbone.replace_mlp(0, lambda mlp: Experts(mlp, Routing(), 2))
    columns = [{"index": torch.arange(count)} for count, _ in LARGE_AND_SMALL]
    backbone.encode_together(tokens_for(backbone), columns=columns)
    assert told == [[0, 1], [0, 1, 2]]
