"""The network before its training: what its head reads, its rates, its drop path, its first answers."""

import pytest
import timm
import torch
from sslcli_finetune.classifier import make_classifier, set_drop_path
from sslcli_finetune.evaluations.groups import rate_groups
from sslcli_finetune.protocols import Settings
from timm.layers import DropPath
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.encoders import TimmNetwork

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def factors(network: TimmNetwork, settings: Settings) -> dict[str, tuple[float, bool]]:
    """Factor on the rate and whether it decays, by parameter."""
    classifier = make_classifier(network, "auto", settings, 5)
    groups = rate_groups(classifier, settings.layer_decay)
    found = {id(p): (group["factor"], group["decays"]) for group in groups for p in group["params"]}
    return {name: found[id(parameter)] for name, parameter in classifier.named_parameters()}


def test_a_head_of_zeros_answers_uniformly(network: TimmNetwork) -> None:
    logits = make_classifier(network, "auto", Settings(head_std=0.0), 5)(IMAGES)
    assert torch.equal(logits.softmax(dim=1), torch.full((3, 5), 0.2))


def test_a_small_head_answers_nearly_uniformly_and_not_quite(network: TimmNetwork) -> None:
    shares = make_classifier(network, "auto", Settings(), 5)(IMAGES).softmax(dim=1)
    assert 0 < (shares - 0.2).abs().max() < 1e-3


def by_hand(network: TimmNetwork, vector: str) -> Tensor:
    """The vector that a head reads, by timm's own parts."""
    model = network.model
    if vector == "fresh":
        model.norm = nn.Identity()
        return torch.nn.functional.layer_norm(model.forward_features(IMAGES)[:, 1:].mean(dim=1), (32,), eps=1e-6)
    tokens: Tensor = model.forward_features(IMAGES)
    return tokens[:, 0] if vector == "cls" else tokens[:, 1:].mean(dim=1)


@pytest.mark.parametrize("vector", ["cls", "mean", "fresh"])
def test_the_head_reads_the_vector_that_is_asked_for(network: TimmNetwork, vector: str) -> None:
    classifier = make_classifier(network, "auto", Settings(vector=vector, head_std=0.5), 5).eval()
    torch.testing.assert_close(classifier(IMAGES), classifier.head(by_hand(network, vector)))


def test_the_backbone_itself_stays_as_it_is(network: TimmNetwork) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    classifier = make_classifier(network, "auto", Settings(vector="fresh"), 5)
    nn.utils.vector_to_parameters(torch.zeros(sum(p.numel() for p in classifier.parameters())), classifier.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_rates_fall_layer_by_layer_as_in_maes_code() -> None:
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 8, "depth": 12, "num_heads": 2}
    network = TimmNetwork.create("vit_base_patch16_224", num_classes=0, **sizes)
    found = factors(network, Settings(layer_decay=0.65, vector="fresh"))
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight"):
        assert found[f"backbone.model.{name}"][0] == pytest.approx(0.00369721, rel=1e-5)
    assert found["backbone.model.blocks.0.mlp.fc1.weight"][0] == pytest.approx(0.00568801, rel=1e-5)
    assert found["backbone.model.blocks.11.norm2.bias"][0] == pytest.approx(0.65)
    assert found["norm.weight"][0] == found["head.weight"][0] == 1.0


def test_the_last_norm_moves_with_the_head(network: TimmNetwork) -> None:
    found = factors(network, Settings(layer_decay=0.5))
    assert found["backbone.model.norm.weight"][0] == 1.0
    assert found["backbone.model.blocks.1.attn.qkv.weight"][0] == 0.5


def test_vectors_tokens_and_positions_do_not_decay_and_matrices_do(network: TimmNetwork) -> None:
    plain = {name for name, (_, decays) in factors(network, Settings()).items() if not decays}
    assert {"backbone.model.cls_token", "backbone.model.pos_embed", "head.bias"} <= plain
    assert not any(name.endswith(("qkv.weight", "proj.weight", "head.weight")) for name in plain)


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "resnet18", "convnext_atto"])
def test_drop_path_is_timms_own(architecture: str) -> None:
    wanted = timm.create_model(architecture, drop_path_rate=0.3)
    model = timm.create_model(architecture)
    set_drop_path(model, 0.3)
    rates, own = ([m.drop_prob for m in one.modules() if isinstance(m, DropPath)] for one in (wanted, model))
    assert own == pytest.approx(rates)
    assert own


def test_a_resnet_learns_from_its_own_vector() -> None:
    network = TimmNetwork.create("resnet18", num_classes=0)
    classifier = make_classifier(network, "auto", Settings(layer_decay=0.75), 5)
    assert classifier.head.weight.shape == (5, 512)
    assert len({group["factor"] for group in rate_groups(classifier, 0.75)}) > 4


def test_a_network_without_a_last_norm_cannot_begin_one_anew() -> None:
    with pytest.raises(UserError, match="no last norm"):
        make_classifier(TimmNetwork.create("resnet18", num_classes=0), "auto", Settings(vector="fresh"), 5)


def test_a_head_may_have_a_hidden_layer(network: TimmNetwork) -> None:
    head = make_classifier(network, "auto", Settings(head_hidden=7), 5).head
    assert [tuple(layer.weight.shape) for layer in head.children() if isinstance(layer, nn.Linear)] == [(7, 32), (5, 7)]
