"""What turns images into vectors."""

import pytest
import timm
import torch

from sslcli.errors import UserError
from sslcli.nn import Features
from sslcli.nn.encoders import Pixels, Pooled, TimmNetwork, pooled

TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}


def features(prefix: int) -> Features:
    """Tokens that count up."""
    normed = torch.arange(2.0 * 5 * 3).reshape(2, 5, 3)
    return Features(normed, normed, prefix, torch.full((2, 3), 7.0))


def test_each_pooling_takes_its_own_tokens() -> None:
    found = features(prefix=1)
    assert torch.equal(pooled(found, "auto"), found.pooled)
    assert torch.equal(pooled(found, "cls"), found.normed[:, 0])
    assert torch.equal(pooled(found, "mean"), found.normed[:, 1:].mean(dim=1))


def test_a_backbone_without_cls_cannot_be_pooled_by_it() -> None:
    with pytest.raises(UserError, match="no CLS token"):
        pooled(features(prefix=0), "cls")


def test_pixels_are_flattened_images() -> None:
    images = torch.randn(2, 3, 4, 4)
    assert torch.equal(Pixels()(images), images.reshape(2, 48))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("vit_tiny_patch16_224", TINY), ("resnet10t", {}), ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1)})],
)
def test_a_timm_network_is_judged_by_what_its_head_would_read(name: str, arguments: dict[str, object]) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **arguments).eval()
    images = torch.randn(2, 3, 32 if "vit" in name else 224, 32 if "vit" in name else 224)
    with torch.no_grad():
        assert torch.equal(Pooled(TimmNetwork(model))(images), model(images))


@pytest.mark.parametrize(("name", "places"), [("resnet10t", 49), ("swin_tiny_patch4_window7_224", 49)])
def test_maps_become_rows_of_tokens_whatever_their_layout(name: str, places: int) -> None:
    depths = {"depths": (1, 1, 1, 1)} if "swin" in name else {}
    network = TimmNetwork(timm.create_model(name, num_classes=0, **depths).eval())
    with torch.no_grad():
        assert network.features(torch.randn(1, 3, 224, 224)).patches.shape == (1, places, network.width)
