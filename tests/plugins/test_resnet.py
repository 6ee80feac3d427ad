"""The backbone `resnet`: timm's numbers behind our contract."""

import pytest
import timm
import torch
from pydantic import ValidationError
from sslcli_resnet import sslcli_backbones
from sslcli_resnet.backbone import Resnet
from sslcli_resnet.options import ResnetOptions
from sslcli_resnet.padding import same_layer

from sslcli.api import Context
from sslcli.errors import UserError


def resnet(size=64, **options):
    torch.manual_seed(0)
    return Resnet(ResnetOptions(**options), Context(image_size=size))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("depth", "multiple", "count"),
    [
        (50, 1, 23_508_032),
        (50, 2, 93_907_072),
        (50, 4, 375_378_176),
        (101, 1, 42_500_160),
        (152, 1, 58_143_808),
        (200, 1, 62_624_832),
        (200, 2, 250_128_512),
    ],
)
def test_parameter_counts_of_relic_v2(depth, multiple, count):
    with torch.device("meta"):
        assert parameters(resnet(depth=depth, width_multiple=multiple)) == count


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_features_are_those_of_timm(channels_last, training):
    backbone, plain = resnet(depth=18, channels_last=channels_last), timm.create_model("resnet18", num_classes=0)
    plain.load_state_dict(backbone.exported.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    features, last = backbone.train(training).features(images), plain.train(training).forward_features(images)
    assert torch.allclose(features.tokens, last.flatten(2).transpose(1, 2), atol=1e-4)
    assert torch.allclose(features.pooled, last.mean((2, 3)), atol=1e-4)


def test_tokens_are_the_places_of_the_last_map_row_by_row():
    backbone, images = resnet(depth=18).eval(), torch.randn(2, 3, 64, 96)
    features, last = backbone.features(images), backbone.model.forward_features(images)
    assert features.tokens.shape == (2, 6, 512)
    assert torch.equal(features.tokens[:, 4], last[:, :, 1, 1])
    assert features.prefix == 0
    assert features.normed is features.tokens


@pytest.mark.parametrize(
    ("size", "stem", "side"), [(64, "imagenet", 2), (96, "imagenet", 3), (32, "small", 4), (33, "small", 5)]
)
def test_the_grid_is_that_of_the_last_map(size, stem, side):
    backbone = resnet(size, depth=18, stem=stem).eval()
    assert backbone.grid == (side, side)
    assert backbone.features(torch.randn(1, 3, size, size)).tokens.shape[1] == side * side


def test_shape_and_batch_norm_are_told():
    backbone = resnet(model="resnet26")
    assert (backbone.width, backbone.depth, backbone.patch_size, backbone.prefix_tokens) == (2048, 8, 32, 0)
    assert backbone.mixes_batch
    assert backbone.abilities == frozenset(next(iter(sslcli_backbones())).abilities) == frozenset()


def test_the_stride_sits_on_the_3x3_convolution():
    block = resnet(depth=50).model.layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


@pytest.mark.parametrize("zero", [True, False])
def test_the_last_gamma_of_each_branch_starts_at_zero_on_demand(zero):
    block = resnet(depth=18, zero_init_last=zero).model.layer1[0]
    assert (block.bn2.weight == 0).all() == zero


def test_a_wide_network_widens_its_stem_and_all_stages():
    model = resnet(depth=18, width_multiple=2).model
    assert model.conv1.out_channels == model.bn1.num_features == model.layer1[0].conv1.in_channels == 128
    assert model.num_features == 1024
    assert model.layer1[0].downsample is None


def test_the_small_stem_keeps_the_size_of_the_picture():
    model = resnet(32, depth=18, stem="small").model
    assert model.maxpool(model.act1(model.bn1(model.conv1(torch.randn(1, 3, 32, 32))))).shape == (1, 64, 32, 32)


@pytest.mark.parametrize("options", [{"depth": 18}, {"depth": 50}, {"depth": 18, "stem": "small"}])
def test_same_padding_keeps_sizes_names_and_random_start(options):
    plain, same = resnet(**options), resnet(padding="same", **options)
    own, others = plain.exported.state_dict(), same.exported.state_dict()
    assert own.keys() == others.keys()
    assert all(torch.equal(own[name], others[name]) for name in own)
    images = torch.randn(1, 3, 64, 64)
    assert same.eval().features(images).tokens.shape == plain.eval().features(images).tokens.shape


@pytest.mark.parametrize(
    ("side", "kernel", "before", "after"),
    [(224, 7, 2, 3), (96, 7, 2, 3), (112, 3, 0, 1), (56, 3, 0, 1), (48, 3, 0, 1), (24, 3, 0, 1), (63, 3, 1, 1)],
)
def test_a_strided_convolution_pads_as_tensorflow_does(side, kernel, before, after):
    plain = torch.nn.Conv2d(2, 4, kernel, 2, kernel // 2, bias=False)
    images = torch.randn(1, 2, side, side)
    padded = torch.nn.functional.pad(images, (before, after, before, after))
    expected = torch.nn.functional.conv2d(padded, plain.weight, stride=2)
    assert torch.equal(same_layer(plain)(images), expected)


def test_the_max_pooling_pads_with_less_than_anything():
    images = -1 - torch.rand(1, 2, 112, 112)
    padded = torch.nn.functional.pad(images, (0, 1, 0, 1), value=-torch.inf)
    pooled = same_layer(torch.nn.MaxPool2d(3, 2, 1))(images)
    assert torch.equal(pooled, torch.nn.functional.max_pool2d(padded, 3, 2))
    assert pooled.isfinite().all()


def test_layers_that_pad_alike_stay_as_they_are():
    assert same_layer(torch.nn.Conv2d(2, 2, 3, 1, 1)) is None
    assert same_layer(torch.nn.Conv2d(2, 2, 1, 2)) is None
    model = resnet(depth=50, padding="same").model
    changed = [name for name, layer in model.named_modules() if type(layer).__name__.endswith("Same")]
    assert changed == ["conv1", "maxpool", "layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2"]


def test_symmetric_and_same_padding_give_other_features():
    images = torch.randn(1, 3, 64, 64)
    plain, same = (resnet(depth=18, padding=padding).eval().features(images) for padding in ("symmetric", "same"))
    assert not torch.allclose(plain.pooled, same.pooled, atol=1e-2)


def test_weights_lie_in_the_memory_format_of_convolutions():
    weight = resnet(depth=18).model.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert resnet(depth=18, channels_last=False).model.layer1[0].conv1.weight.is_contiguous()


@pytest.mark.parametrize(
    "options", [{"depth": 18}, {"model": "resnet18.a1_in1k"}, {"depth": 18, "zero_init_last": False}]
)
def test_timm_builds_the_same_network_from_the_config(options):
    backbone = resnet(**options).eval()
    config = backbone.timm_config()
    plain = timm.create_model(config["architecture"], **config["model_args"]).eval()
    plain.load_state_dict(backbone.exported.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(plain(images), backbone.features(images).pooled, atol=1e-4)


@pytest.mark.parametrize("options", [{"stem": "small"}, {"width_multiple": 2}, {"padding": "same"}])
def test_a_stem_or_padding_that_timm_does_not_have_has_no_timm_config(options):
    assert resnet(depth=18, **options).timm_config() == {}


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"model": "resnet5"}, "no model 'resnet5'", "resnet5"),
        ({"model": "vit_small_patch16_224"}, "no ResNet of timm", "backbone 'vit'"),
        ({"model": "convnext_atto"}, "no ResNet of timm", "resnet50"),
        ({"model": "resnet26d", "stem": "small"}, "deep stem", "resnet50"),
    ],
)
def test_what_cannot_be_built_is_told_with_a_hint(options, message, hint):
    with pytest.raises(UserError, match=message) as error:
        resnet(**options)
    assert hint in error.value.hint


def test_a_model_is_named_once():
    with pytest.raises(ValidationError, match="model or depth, not both"):
        ResnetOptions(model="resnet50", depth=18)
