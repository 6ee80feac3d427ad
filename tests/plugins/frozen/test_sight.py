"""What linear heads read of a backbone."""

import pytest
import torch
from sslcli_frozen.evaluations.sight import LastBlocks, Layout, Sight, sight_of
from torch import nn

from sslcli.nn.encoders import Pixels, Pooled, TimmNetwork
from sslcli.nn.last_blocks import token_blocks

ARGUMENTS = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 3, "num_classes": 0}


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def timm_vit(**more):
    torch.manual_seed(0)
    return TimmNetwork.create("vit_tiny_patch16_224", **{**ARGUMENTS, **more}).eval()


def test_each_block_gives_its_cls_and_its_mean_patch_after_the_last_norm(make_trial, images):
    backbone = make_trial().backbone.eval()
    found = LastBlocks(backbone, 2)(images)
    model, tokens = backbone.exported, backbone.with_prefix(backbone.embed(images))
    for number, block in enumerate(model.blocks):
        tokens = block(tokens)
        normed = model.norm(tokens)
        torch.testing.assert_close(found[:, number, 0], normed[:, 0])
        torch.testing.assert_close(found[:, number, 1], normed[:, 1:].mean(dim=1))


def test_a_network_of_timm_gives_the_same_as_the_plugin_it_was_saved_from(make_trial, images):
    backbone = make_trial().backbone.eval()
    saved = TimmNetwork.create("vit_tiny_patch16_224", **backbone.timm_config()["model_args"]).eval()
    saved.exported.load_state_dict(backbone.exported.state_dict())
    torch.testing.assert_close(LastBlocks(saved, 2)(images), LastBlocks(backbone, 2)(images))


def test_the_last_block_is_what_the_features_say(images):
    backbone = timm_vit()
    features = backbone.features(images)
    found = LastBlocks(backbone, 1)(images)
    torch.testing.assert_close(found[:, 0], torch.stack([features.cls, features.patches.mean(dim=1)], dim=1))


def test_without_a_cls_token_the_mean_is_all_there_is(images):
    backbone = timm_vit(class_token=False, global_pool="avg", fc_norm=False)
    assert LastBlocks(backbone, 2)(images).shape == (2, 2, 1, 12)
    assert sight_of(Pooled(backbone), 2).parts == 1


def test_no_hook_is_left_behind(make_trial, images):
    backbone = make_trial().backbone.eval()
    LastBlocks(backbone, 2)(images)
    assert all(not block._forward_hooks for block in backbone.exported.blocks)


def test_pixels_and_convolutional_networks_have_no_blocks_to_choose():
    assert sight_of(Pixels(), 4).blocks == 0
    assert token_blocks(TimmNetwork.create("resnet18", num_classes=0)) == ()
    assert token_blocks(TimmNetwork.create("efficientnet_b0", num_classes=0)) == ()


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(1, "cls"), [20, 21]),
        (Layout(2, "cls"), [0, 1, 20, 21]),
        (Layout(1, "mean"), [30, 31]),
        (Layout(2, "mean"), [10, 11, 30, 31]),
        (Layout(1, "both"), [20, 21, 30, 31]),
        (Layout(2, "both"), [0, 1, 20, 21, 30, 31]),
    ],
)
def test_a_layout_cuts_its_tokens_out_of_a_row(layout, expected):
    row = torch.tensor([[[[0.0, 1.0], [10.0, 11.0]], [[20.0, 21.0], [30.0, 31.0]]]])  # [B, blocks, parts, D]
    assert layout.cut(row.flatten(1), Sight(nn.Identity(), blocks=2, parts=2))[0].tolist() == expected
