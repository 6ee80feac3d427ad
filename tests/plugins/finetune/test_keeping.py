"""A trained network that plain timm opens, and gives the same answers by."""

from pathlib import Path

import pytest
import timm
import torch
from sslcli_finetune.classifier import Classifier, make_classifier
from sslcli_finetune.keeping import refuse_folder, timm_twin, write_classifier
from sslcli_finetune.protocols import Settings
from timm.data import resolve_model_data_config
from torch import nn

from sslcli.errors import RunError, UserError
from sslcli.nn.encoders import TimmNetwork

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
CARD = {"image_size": 16, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2), "crop_share": 1.0}


def trained(network: TimmNetwork, **settings: object) -> Classifier:
    """A classifier whose every number differs from its start."""
    classifier = make_classifier(network, "auto", Settings(**settings), 3).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return classifier


@pytest.mark.parametrize("vector", ["auto", "cls", "mean", "fresh"])
def test_timm_opens_the_folder_and_answers_the_same(network: TimmNetwork, tmp_path: Path, vector: str) -> None:
    classifier = trained(network, vector=vector)
    write_classifier(tmp_path / "kept", classifier, ["ant", "bee", "cat"], CARD, 16)
    model = timm.create_model(f"local-dir:{tmp_path / 'kept'}", pretrained=True).eval()
    torch.testing.assert_close(model(IMAGES), classifier(IMAGES))
    assert tuple(resolve_model_data_config(model)["mean"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("architecture", ["resnet18", "convnext_atto"])
def test_a_network_of_convolutions_is_kept_too(architecture: str, tmp_path: Path) -> None:
    classifier = trained(TimmNetwork.create(architecture, num_classes=0))
    write_classifier(tmp_path, classifier, ["ant", "bee", "cat"], CARD | {"image_size": 64}, 64)
    images = torch.randn(2, 3, 64, 64)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    torch.testing.assert_close(model(images), classifier(images), rtol=1e-4, atol=1e-4)


def test_a_head_that_timm_does_not_have_is_refused(network: TimmNetwork) -> None:
    with pytest.raises(UserError, match="timm has no network like this"):
        timm_twin(trained(network, head_hidden=4), 16)


def test_a_network_that_answers_otherwise_is_refused(network: TimmNetwork) -> None:
    classifier = trained(network)
    classifier.backbone.exported.norm_pre = nn.LayerNorm(32)  # not in what it says that it was built by
    with pytest.raises(UserError, match="does not answer as this one"):
        timm_twin(classifier, 16)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    refuse_folder(tmp_path / "new")
    refuse_folder(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="is there already"):
        refuse_folder(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        refuse_folder(tmp_path / "file" / "new")


def test_a_disk_that_takes_nothing_is_told(network: TimmNetwork, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot keep the network"):
        write_classifier(tmp_path / "file", trained(network), ["ant", "bee", "cat"], CARD, 16)
