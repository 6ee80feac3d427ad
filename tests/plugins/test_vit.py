"""The backbone `vit`: timm's numbers behind our contract."""

import math

import pytest
import timm
import torch
from sslcli_vit import sslcli_backbones
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from torch import nn
from torch.nn import functional

from sslcli.api import Context, ViewShape
from sslcli.errors import UserError
from sslcli.nn.experts import Experts
from sslcli.nn.positions import sincos_table

SMALL = {"width": 24, "depth": 2, "heads": 2}


def vit(size=32, **options):
    torch.manual_seed(0)
    return Vit(VitOptions(**{"patch_size": 8, **SMALL, **options}), Context(image_size=size))


def named(model, size, **options):
    return Vit(VitOptions(model=model, **SMALL, **options), Context(image_size=size)).eval()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


NAMES = [
    ("vit_small_patch16_224", 64, 1),
    ("vit_base_patch14_reg4_dinov2", 56, 5),
    ("vit_base_patch16_clip_224.openai", 64, 1),
    ("vit_medium_patch16_gap_256", 64, 0),
    ("deit3_small_patch16_224", 64, 1),
    ("vit_base_patch16_siglip_224", 64, 0),
]


@pytest.mark.parametrize(("model", "size", "prefix"), NAMES)
def test_features_are_those_of_timm_bit_by_bit(model, size, prefix):
    backbone, images = named(model, size), torch.randn(2, 3, size, size)
    with torch.no_grad():
        features = backbone.features(images)
        assert torch.equal(features.normed, backbone.model.forward_features(images))
        assert torch.equal(features.pooled, backbone.model(images))
    assert features.prefix == backbone.prefix_tokens == prefix
    assert features.patches.shape == (2, (size // backbone.patch_size) ** 2, 24)


@pytest.mark.parametrize("model", ["vit_small_patch16_224", "vit_medium_patch16_gap_256"])
@pytest.mark.parametrize("shape", [(32, 32), (96, 96), (48, 80)])
def test_images_of_other_sizes_give_timms_features_too(model, shape):
    backbone, images = named(model, 64), torch.randn(2, 3, *shape)
    with torch.no_grad():
        assert torch.equal(backbone.features(images).normed, backbone.model.forward_features(images))


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_pooling_is_timms(pool):
    backbone, images = vit(pool=pool).eval(), torch.randn(2, 3, 32, 32)
    features = backbone.features(images)
    expected = features.normed[:, 0] if pool == "cls" else features.normed[:, 1:].mean(1)
    assert torch.equal(features.pooled, expected)
    assert torch.equal(features.pooled, backbone.model(images))


def test_tokens_before_the_norm_become_those_after_it():
    backbone = vit()
    features = backbone.features(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.model.norm(features.tokens), features.normed)
    assert not torch.equal(features.tokens, features.normed)


@pytest.mark.parametrize(
    ("model", "size", "count"),
    [
        ("vit_small_patch16_224", 224, 21_665_664),
        ("vit_base_patch16_224", 224, 85_798_656),
        ("vit_large_patch16_224", 224, 303_301_632),
        ("vit_huge_patch14_224", 224, 630_764_800),
    ],
)
def test_parameter_counts_of_the_papers(model, size, count):
    with torch.device("meta"):
        assert parameters(Vit(VitOptions(model=model), Context(image_size=size))) == count


@pytest.mark.parametrize(("width", "heads", "count"), [(192, 3, 5_390_784), (384, 12, 21_398_400)])
def test_parameter_counts_for_pictures_of_32_pixels(width, heads, count):
    options = VitOptions(width=width, depth=12, heads=heads, patch_size=2)
    assert parameters(Vit(options, Context(image_size=32))) == count


def test_without_a_word_it_is_a_vit_small_of_the_largest_view():
    backbone = Vit(VitOptions(), Context(image_size=96))
    assert (backbone.width, backbone.depth, backbone.patch_size, backbone.grid) == (384, 12, 16, (6, 6))
    assert backbone.model.blocks[0].attn.num_heads == 6
    assert backbone.model.norm.eps == 1e-6


def test_given_sizes_replace_those_of_the_name():
    backbone = vit(registers=3, mlp_ratio=2.0, drop_path=0.3, image_size=48)
    assert (backbone.width, backbone.depth, backbone.grid, backbone.prefix_tokens) == (24, 2, (6, 6), 4)
    assert backbone.model.blocks[1].mlp.fc1.out_features == 48
    assert backbone.model.blocks[1].drop_path1.drop_prob == pytest.approx(0.3)


def test_kept_tokens_are_encoded_as_if_the_others_were_never_there():
    backbone, images = vit(positions="sincos").eval(), torch.randn(2, 3, 32, 32)
    keep = torch.tensor([[3, 0, 9], [15, 2, 7]])
    with torch.no_grad():
        features = backbone.encode(backbone.embed(images), keep=keep)
        for image in range(2):
            patches = backbone.model.patch_embed(images[image : image + 1]).reshape(1, 16, 24)
            placed = patches + backbone.model.pos_embed[:, 1:]
            sequence = [backbone.model.cls_token[0, 0] + backbone.model.pos_embed[0, 0]]
            sequence += [placed[0, place] for place in keep[image].tolist()]
            expected = backbone.model.norm(backbone.model.blocks(torch.stack(sequence)[None]))
            assert torch.allclose(features.normed[image], expected[0], atol=1e-5)


def test_kept_tokens_do_not_see_the_pixels_of_the_others():
    backbone, images = vit().eval(), torch.randn(1, 3, 32, 32)
    keep = torch.tensor([[0, 1, 4, 5]])  # the upper left quarter
    changed = images.clone()
    changed[:, :, 16:] = 7.0
    changed[:, :, :, 16:] = 7.0
    one, two = (backbone.encode(backbone.embed(x), keep=keep).normed for x in (images, changed))
    assert torch.equal(one, two)
    assert not torch.equal(backbone.features(images).normed[:, :6], backbone.features(changed).normed[:, :6])


def test_keeping_all_tokens_in_order_changes_nothing():
    backbone, images = vit().eval(), torch.randn(2, 3, 32, 32)
    kept = backbone.encode(backbone.embed(images), keep=torch.arange(16).expand(2, -1))
    assert torch.equal(kept.normed, backbone.features(images).normed)


def test_an_attention_mask_hides_tokens_like_leaving_them_out():
    backbone = vit().eval()
    tokens = backbone.embed(torch.randn(2, 3, 32, 32))
    seen = torch.arange(17) < 9  # CLS and eight patches
    hidden = backbone.encode(tokens, attend=seen[None, :].expand(17, 17))
    left_out = backbone.encode(tokens, keep=torch.arange(8).expand(2, -1))
    assert torch.allclose(hidden.normed[:, :9], left_out.normed, atol=1e-5)


def test_a_full_attention_mask_changes_nothing():
    backbone = vit().eval()
    tokens = backbone.embed(torch.randn(2, 3, 32, 32))
    full = backbone.encode(tokens, attend=torch.ones(17, 17, dtype=torch.bool))
    assert torch.allclose(full.normed, backbone.encode(tokens).normed, atol=1e-6)


def nearest(block, logits):
    """Each query looks at the three keys of highest logit."""
    best = logits.topk(3, dim=-1).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)


def test_keys_are_chosen_by_the_logits_of_each_block():
    backbone = vit().eval()
    tokens = backbone.embed(torch.randn(2, 3, 32, 32))
    found, sequence = backbone.encode(tokens, attend=nearest).tokens, backbone.enter(tokens)
    for block in backbone.model.blocks:
        normed = block.norm1(sequence)
        query, key, value = block.attn.qkv(normed).view(2, 17, 3, 2, 12).permute(2, 0, 3, 1, 4)
        logits = query @ key.transpose(-2, -1) / math.sqrt(12)
        shares = logits.masked_fill(~nearest(0, logits), -math.inf).softmax(-1)
        sequence = sequence + block.attn.proj((shares @ value).transpose(1, 2).flatten(2))
        sequence = sequence + block.mlp(block.norm2(sequence))
    torch.testing.assert_close(found, sequence, rtol=0, atol=1e-5)


def test_a_chosen_mask_is_that_mask():
    backbone = vit(registers=2, drop_path=0.5).eval()
    tokens, mask = backbone.embed(torch.randn(2, 3, 32, 32)), torch.rand(2, 1, 19, 19) > 0.3
    chosen = backbone.encode(tokens, attend=lambda block, logits: mask)
    torch.testing.assert_close(chosen.normed, backbone.encode(tokens, attend=mask).normed, rtol=0, atol=1e-6)


def test_keys_are_chosen_in_full_precision_and_without_gradient():
    backbone, seen = vit(), []
    with torch.autocast("cpu", torch.bfloat16):
        tokens = backbone.embed(torch.randn(2, 3, 32, 32))
        backbone.encode(tokens, attend=lambda block, logits: seen.append(logits) or nearest(block, logits))
    assert [(logits.dtype, logits.requires_grad) for logits in seen] == [(torch.float32, False)] * 2


def test_recomputed_blocks_choose_the_same_keys():
    images, gradients = torch.randn(2, 3, 32, 32), []
    for checkpointing in (False, True):
        backbone = vit(checkpointing=checkpointing, drop_path=0.5)
        torch.manual_seed(1)
        backbone.encode(backbone.embed(images), attend=nearest).pooled.sum().backward()
        gradients.append(backbone.model.blocks[0].attn.qkv.weight.grad)
    assert torch.equal(*gradients)


def test_keys_are_chosen_beside_experts():
    backbone, plain = vit().eval(), vit().eval()
    backbone.replace_mlp(1, lambda mlp: nn.Sequential(mlp))
    tokens = plain.embed(torch.randn(2, 3, 32, 32))
    assert torch.equal(backbone.encode(tokens, attend=nearest).normed, plain.encode(tokens, attend=nearest).normed)


def test_a_block_that_does_not_show_its_logits_is_told_so():
    backbone = named("vit_base_patch16_rpn_224", 64)  # norms after attention and MLP
    with pytest.raises(UserError, match="chooses keys by their logits"):
        backbone.encode(backbone.embed(torch.randn(1, 3, 64, 64)), attend=nearest)


def test_checkpointing_gives_the_same_gradients():
    images = torch.randn(2, 3, 32, 32)
    gradients = []
    for checkpointing in (False, True):
        backbone = vit(checkpointing=checkpointing, drop_path=0.5)
        torch.manual_seed(1)
        backbone.features(images).normed.square().mean().backward()
        gradients.append(backbone.model.blocks[0].attn.qkv.weight.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("positions", "transposed"), [("sincos", False), ("sincos_transposed", True)])
def test_fixed_positions_hold_the_table_and_do_not_learn(positions, transposed):
    table = vit(positions=positions, registers=2).model.pos_embed
    assert torch.equal(table, sincos_table(24, (4, 4), prefix=3, transposed=transposed))
    assert not table.requires_grad
    assert vit().model.pos_embed.requires_grad


def test_fixed_positions_have_no_prefix_rows_where_the_model_has_none():
    backbone = named("vit_base_patch14_reg4_dinov2", 56, positions="sincos")
    assert torch.equal(backbone.model.pos_embed, sincos_table(24, (4, 4)))


def test_small_crops_may_take_their_positions_by_dinos_scale_factor():
    backbone = vit(size=112, position_resize="dino")
    table = backbone.model.pos_embed[:, 1:].reshape(1, 14, 14, 24).permute(0, 3, 1, 2)
    expected = functional.interpolate(table, scale_factor=(6.1 / 14, 6.1 / 14), mode="bicubic")
    assert torch.equal(backbone.positions((6, 6)), expected.permute(0, 2, 3, 1).reshape(1, 36, 24))
    assert not torch.allclose(backbone.positions((6, 6)), vit(size=112).positions((6, 6)), atol=1e-4)


def test_the_start_of_mae_is_xavier_for_linears_and_for_the_patches_as_a_matrix():
    model = vit(init="mae", width=192, heads=3).model
    for weight in (
        model.blocks[0].attn.qkv.weight,
        model.blocks[1].mlp.fc2.weight,
        model.patch_embed.proj.weight.flatten(1),
    ):
        bound = math.sqrt(6 / sum(weight.shape))
        assert bound * 0.97 < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    assert model.cls_token.std().item() == pytest.approx(0.02, rel=0.25)
    assert (model.blocks[0].mlp.fc1.bias == 0).all()
    assert (model.patch_embed.proj.bias != 0).any()


def test_the_start_of_moco_v3_takes_q_k_and_v_apart():
    model = vit(init="moco_v3", width=192, heads=3).model
    for part in model.blocks[0].attn.qkv.weight.chunk(3):
        bound = math.sqrt(6 / (192 + 192))
        assert bound * 0.97 < part.abs().max() <= bound
    bound = math.sqrt(6 / (3 * 8 * 8 + 192))
    assert bound * 0.97 < model.patch_embed.proj.weight.abs().max() <= bound
    assert (model.patch_embed.proj.bias == 0).all()
    assert 0 < model.cls_token.abs().max() < 1e-5


@pytest.mark.parametrize(
    "options", [{}, {"positions": "sincos"}, {"registers": 4}, {"pool": "mean"}, {"class_token": False}]
)
def test_timm_builds_the_same_network_from_the_config(options):
    backbone = vit(**options).eval()
    config = backbone.timm_config()
    plain = timm.create_model(config["architecture"], **config["model_args"]).eval()
    plain.load_state_dict(backbone.exported.state_dict(), strict=True)
    for size in (32, 48):
        images = torch.randn(2, 3, size, size)
        assert torch.equal(plain(images), backbone.features(images).pooled)


@pytest.mark.parametrize(("model", "size", "prefix"), NAMES)
def test_timm_builds_named_networks_from_the_config(model, size, prefix):
    backbone = named(model, size)
    config = backbone.timm_config()
    plain = timm.create_model(config["architecture"], **config["model_args"]).eval()
    plain.load_state_dict(backbone.exported.state_dict(), strict=True)
    images = torch.randn(2, 3, size, size)
    assert torch.equal(plain(images), backbone.features(images).pooled)


def test_a_backbone_with_experts_has_no_timm_config():
    backbone = vit()
    backbone.replace_mlp(0, lambda mlp: nn.Sequential(mlp))
    assert backbone.timm_config() != {}
    backbone.replace_mlp(1, lambda mlp: Experts(mlp, nn.Identity(), 2))
    assert backbone.timm_config() == {}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"model": "vit_smal_patch16_224"}, "no model 'vit_smal_patch16_224'", "vit_small_patch16_224"),
        ({"model": "resnet50"}, "no plain VisionTransformer", "backbone 'resnet'"),
        ({"model": "swin_tiny_patch4_window7_224"}, "no plain VisionTransformer", "vit_small_patch16_224"),
        ({"model": "deit_tiny_distilled_patch16_224"}, "cannot build", "plain vision transformer"),
        ({"width": 25}, "divisible by num_heads", "sizes"),
        ({"width": 26, "heads": 2, "positions": "sincos"}, "multiple of 4, not 26", "width"),
        ({"image_size": 36}, "is 36, which is no multiple of the patch size 8", "use 32"),
        ({"class_token": False, "pool": "cls"}, "no class token", "mean"),
    ],
)
def test_what_cannot_be_built_is_told_with_a_hint(options, message, hint):
    with pytest.raises(UserError, match=message) as error:
        vit(**options)
    assert hint in error.value.hint


def test_a_view_that_does_not_divide_into_patches_is_named():
    context = Context(image_size=32, views={"global": ViewShape(2, 32), "local": ViewShape(4, 20)})
    with pytest.raises(UserError, match=r"views\.local\.size is 20") as error:
        Vit(VitOptions(patch_size=8, **SMALL), context)
    assert error.value.hint == "use 16"


def test_a_block_without_a_single_mlp_refuses_experts():
    with pytest.raises(UserError, match="no single MLP"):
        named("vit_small_patch16_18x2_224", 64).replace_mlp(0, nn.Sequential)


def test_the_offer_names_the_abilities_that_the_backbone_has():
    (offer,) = sslcli_backbones()
    assert frozenset(offer.abilities) == Vit.abilities
    assert offer.options is VitOptions
