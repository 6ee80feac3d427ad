"""The released checkpoints of BYOL, made by code after their description, become runs with the same features."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sslcli_byol.import_options import ByolImportOptions
from sslcli_byol.importing import FIELDS, import_byol, recipe_of

from sslcli.errors import UserError
from sslcli.evaluation.opening import open_subject
from sslcli.nn import Imported
from sslcli.nn.foreign.pickles import read_foreign_pickle
from sslcli.plugins import load_registry
from sslcli.recipe import load_recipe, recipe_from_document
from sslcli.training.building import build_backbone, context_of
from sslcli.training.importing import import_run

STEPS = 312784  # of the published runs


def released(online: Any, target: Any, heads: Any) -> dict[str, Any]:
    """A checkpoint with both networks, the heads beside them, and an optimizer's state."""
    params, state = heads
    entries = (online.params | params, target.params | params, online.state | state, target.state | state, [()])
    return {"experiment_state": dict(zip(FIELDS, entries)), "step": STEPS, "rng": None}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, haiku_resnet50: Any, haiku_network: Any, haiku_heads: Any) -> Path:
    """The run that is made of a ResNet-50's file."""
    path = tmp_path_factory.mktemp("byol") / "pretrain_res50x1.pkl"
    path.write_bytes(pickle.dumps(released(haiku_resnet50, haiku_network(seed=1), haiku_heads), 2))
    offer = load_registry().find("importer", "byol")
    return import_run(offer, ByolImportOptions(), path, folder=path.with_name("run")).folder


def test_the_run_has_the_features_of_the_file(run: Path, haiku_resnet50: Any) -> None:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    encoder = open_subject(str(run)).encoder.eval().double()
    with torch.no_grad():
        assert torch.allclose(encoder(images), haiku_resnet50.features(images), atol=1e-5)


def test_the_run_says_what_was_found_and_left_out(run: Path) -> None:
    imported = json.loads((run / "environment.json").read_text())["imported"]
    first, second = imported["said"].splitlines()
    assert first.startswith("ResNet-50: 318 tensors of its backbone; left out: parameters of heads, 5 of projector")
    assert first.endswith("from the online network")
    assert second == "recipe: byol/resnet50-imagenet-1000ep; 312784 steps, 1000 epochs"
    assert (imported["importer"], imported["epoch"]) == ("byol", 1000.0)


def test_the_recipe_of_the_run_pads_as_the_network_learned(run: Path) -> None:
    recipe = load_recipe(run / "recipe.toml")
    assert (recipe.backbone.options.depth, recipe.backbone.options.padding) == (50, "same")
    assert recipe.teacher.export is False


def test_timm_says_that_it_has_no_such_network(run: Path) -> None:
    with pytest.raises(RuntimeError, match="timm cannot build this Resnet"):
        timm.create_model(f"local-dir:{run}", pretrained=True)


def converted(document: Any, path: Path, **options: Any) -> Imported:
    """What the importer makes of a document that went through a file."""
    path.write_bytes(pickle.dumps(document, 2))
    return import_byol(ByolImportOptions(**options), read_foreign_pickle(path))


def thin(haiku_network: Any, seed: int = 0) -> Any:
    """A network with the blocks of ResNet-50, and few channels in them."""
    return haiku_network((3, 4, 6, 3), (2, 2, 2, 2), seed=seed)


def test_the_target_network_is_taken_when_it_is_asked_for(tmp_path: Path, haiku_network: Any, haiku_heads: Any) -> None:
    online, target = thin(haiku_network, 0), thin(haiku_network, 1)
    imported = converted(released(online, target, haiku_heads), tmp_path / "a.pkl", network="target")
    offset = target.params["res_net50/~/initial_batchnorm"]["offset"].flatten()
    assert torch.equal(imported.weights["bn1.bias"], torch.from_numpy(offset))
    assert imported.recipe["teacher"]["export"] is True


def test_the_epochs_may_be_said(tmp_path: Path, haiku_network: Any, haiku_heads: Any) -> None:
    network = thin(haiku_network)
    imported = converted(released(network, network, haiku_heads), tmp_path / "a.pkl", epochs=300)
    assert (imported.epoch, imported.recipe["extends"]) == (300.0, "byol/resnet50-imagenet-300ep")


def test_a_file_of_another_kind_is_refused_by_what_it_holds() -> None:
    with pytest.raises(UserError, match="no checkpoint of an experiment: it holds state_dict"):
        import_byol(ByolImportOptions(), {"state_dict": {}})


@pytest.mark.parametrize(
    ("depth", "multiple", "epochs", "extends", "name"),
    [
        (50, 1, 1000.0, "byol/resnet50-imagenet-1000ep", "byol-resnet50"),
        (50, 1, 0.0, "byol/resnet50-imagenet-1000ep", "byol-resnet50"),
        (50, 1, 100.02, "byol/resnet50-imagenet-100ep", "byol-resnet50"),
        (200, 2, 1000.0, "byol/resnet200x2-imagenet-1000ep", "byol-resnet200x2"),
        (50, 4, 1000.0, "byol/resnet50-imagenet-1000ep", "byol-resnet50x4"),
        (101, 1, 300.0, "byol/resnet50-imagenet-1000ep", "byol-resnet101"),
    ],
)
def test_the_recipe_builds_a_network_of_its_size(
    depth: int, multiple: int, epochs: float, extends: str, name: str
) -> None:
    document = recipe_of(depth, multiple, epochs, target=False)
    assert (document["extends"], document["name"]) == (extends, name)
    recipe = recipe_from_document(document, origin="a test")
    with torch.device("meta"):
        backbone = build_backbone(recipe, context_of(recipe, samples=recipe.train.batch_size))
    blocks = {50: 16, 101: 33, 200: 66}
    assert (backbone.depth, backbone.width) == (blocks[depth], 2048 * multiple)
    assert recipe.backbone.options.padding == "same"
