"""Maps of what a backbone sees: attention of CLS against softmax written out, components against an eigenvector."""

import math

import pytest
import torch
from torch import nn

from sslcli.errors import UserError
from sslcli.evaluation.attention import (
    MapEncoder,
    attention_of,
    cls_attention,
    has_cls,
    patch_attention,
    principal_map,
)
from sslcli.nn import Backbone, Features
from sslcli.nn.encoders import TimmNetwork
from sslcli.testing.steps import make_backbone, make_context


@pytest.fixture
def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Patches(Backbone):
    """A backbone that gives these patch tokens."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def features(self, images):
        return Features(self.tokens, self.tokens, 0, self.tokens.mean(dim=1))


def written_out(network, images):
    """Attention of the first token of the last block, image by image and head by head."""
    seen = []
    hook = network.blocks[-1].norm1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network.forward_features(images)
    hook.remove()
    attention = network.blocks[-1].attn
    width = seen[0].shape[-1]
    weight, bias, part = attention.qkv.weight, attention.qkv.bias, width // attention.num_heads
    rows = []
    for tokens in seen[0]:
        query, key = (tokens @ weight[at : at + width].T + bias[at : at + width] for at in (0, width))
        for head in range(attention.num_heads):
            place = slice(head * part, (head + 1) * part)
            scores = [float(query[0, place] @ other) / math.sqrt(part) for other in key[:, place]]
            rows.append(torch.tensor(scores).softmax(dim=0))
    return torch.stack(rows).view(len(images), attention.num_heads, -1)


def test_attention_of_cls_is_the_softmax_written_out(images):
    backbone = make_backbone(make_context()).eval()
    with torch.no_grad():
        found, expected = cls_attention(backbone, images), written_out(backbone.exported, images)
    side = 32 // backbone.patch_size
    assert found.shape == (2, backbone.heads, side, side)
    assert torch.allclose(found.flatten(2), expected[..., backbone.prefix_tokens :], atol=1e-6)


def test_a_timm_model_gives_the_same_maps(images):
    backbone = make_backbone(make_context()).eval()
    with torch.no_grad():
        assert torch.equal(cls_attention(TimmNetwork(backbone.exported), images), cls_attention(backbone, images))


def test_a_backbone_without_cls_is_refused_with_what_to_do_instead(images):
    with pytest.raises(UserError, match="has no CLS token") as caught:
        cls_attention(Patches(torch.randn(2, 16, 8)), images)
    assert "'pca'" in caught.value.hint


def test_the_principal_map_is_the_projection_on_the_covariances_first_eigenvector(images):
    tokens = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(1))
    for found, own in zip(principal_map(Patches(tokens), images), tokens):
        _, vectors = torch.linalg.eigh(torch.cov(own.T))
        expected = ((own - own.mean(dim=0)) @ vectors[:, -1]).view(4, 4)
        assert torch.allclose(found.abs(), expected.abs(), atol=1e-5)


def test_the_border_of_the_principal_map_is_below_its_middle(images):
    tokens = torch.zeros(2, 16, 3)
    tokens[0, [5, 6, 9, 10], 1], tokens[1, [5, 6, 9, 10], 1] = 1.0, -1.0
    for found in principal_map(Patches(tokens), images):
        assert found[1:3, 1:3].min() > found[0].max()


def test_patches_that_are_no_square_are_refused(images):
    with pytest.raises(UserError, match="12 patches are no square grid"):
        principal_map(Patches(torch.randn(2, 12, 8)), images)


def test_an_encoder_of_maps_gives_a_flat_row_an_image_with_heads_averaged(images):
    backbone = make_backbone(make_context()).eval()
    rows = MapEncoder(backbone, cls_attention)(images)
    assert isinstance(backbone, nn.Module)
    assert torch.allclose(rows, cls_attention(backbone, images).mean(dim=1).flatten(1))


def test_the_attention_of_all_patches_is_the_mean_of_each_ones(images):
    shape = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 32, "num_heads": 2}
    backbone = TimmNetwork.create("vit_tiny_patch16_224", class_token=False, global_pool="avg", **shape).eval()
    with torch.no_grad():
        found = patch_attention(backbone, images)
        each = [attention_of(backbone, images, slice(place, place + 1)) for place in range(found[0, 0].numel())]
    assert not has_cls(backbone)
    assert torch.allclose(found, torch.stack(each).mean(dim=0), atol=1e-6)
    assert torch.allclose(found.sum(dim=(2, 3)), torch.ones(found.shape[:2]))


def test_a_network_without_plain_attention_is_refused_with_what_to_do_instead(images):
    with pytest.raises(UserError, match="no plain attention") as caught:
        patch_attention(Patches(torch.randn(2, 16, 8)), images)
    assert "'pca'" in caught.value.hint
