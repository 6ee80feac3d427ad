"""The released checkpoints of RELICv2, made by code after their description, become runs with the same features."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from sslcli_relic.import_options import Relicv2ImportOptions
from sslcli_relic.importing import RELEASED, import_relicv2, recipe_of

from sslcli.errors import UserError
from sslcli.evaluation.opening import open_subject
from sslcli.nn.foreign.pickles import read_foreign_pickle
from sslcli.plugins import load_registry
from sslcli.recipe import recipe_from_document
from sslcli.training.building import build_backbone, context_of
from sslcli.training.importing import import_run

PARAMETERS = {  # of each released size, without a classifier
    **{(50, 1): 23_508_032, (50, 2): 93_907_072, (50, 4): 375_378_176},
    **{(101, 1): 42_500_160, (152, 1): 58_143_808, (200, 1): 62_624_832, (200, 2): 250_128_512},
}


def released(network: Any, on_devices: Any) -> dict[str, Any]:
    """A checkpoint of one network, with an axis of devices before the others."""
    state = {"online_params": on_devices(network.params), "online_state": on_devices(network.state)}
    return {"experiment_state": state, "step": 312784, "rng": None}


def test_a_run_has_the_features_of_its_file(tmp_path: Path, haiku_resnet50: Any, on_devices: Any) -> None:
    path = tmp_path / "relicv2_checkpoint_R50_1x.pkl"
    path.write_bytes(pickle.dumps(released(haiku_resnet50, on_devices), 2))
    made = import_run(
        load_registry().find("importer", "relicv2"), Relicv2ImportOptions(), path, folder=tmp_path / "run"
    )
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).double()
    encoder = open_subject(str(made.folder)).encoder.eval().double()
    with torch.no_grad():
        assert torch.allclose(encoder(images), haiku_resnet50.features(images), atol=1e-5)
    assert made.said.startswith("ResNet-50: 318 tensors of its backbone, the first of 2 copies; there are no heads")
    assert (made.recipe, made.epoch, made.tensors) == ("relicv2-resnet50", 1000.0, 318)


def test_a_target_network_that_is_not_there_is_told(tmp_path: Path, haiku_network: Any, on_devices: Any) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(released(haiku_network(), on_devices), 2))
    with pytest.raises(UserError, match="no whole target network") as told:
        import_relicv2(Relicv2ImportOptions(network="target"), read_foreign_pickle(tmp_path / "a.pkl"))
    assert told.value.hint == "take it: --set network=online"


def test_a_file_of_another_kind_is_refused_by_what_it_holds() -> None:
    with pytest.raises(UserError, match="no checkpoint of an experiment: it holds nothing"):
        import_relicv2(Relicv2ImportOptions(), {})


@pytest.mark.parametrize("size", RELEASED)
def test_the_recipe_of_a_released_size_builds_a_network_of_that_size(size: tuple[int, int]) -> None:
    recipe = recipe_from_document(recipe_of(*size, target=False), origin="a test")
    with torch.device("meta"):
        backbone = build_backbone(recipe, context_of(recipe, samples=recipe.train.batch_size))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == PARAMETERS[size]
    assert recipe.backbone.options.padding == "same"


def test_another_size_is_set_in_the_recipe_of_the_first() -> None:
    document = recipe_of(101, 2, target=True)
    assert (document["extends"], document["name"]) == ("relicv2/resnet50-imagenet-1000ep", "relicv2-resnet101x2")
    recipe = recipe_from_document(document, origin="a test")
    assert (recipe.backbone.options.depth, recipe.backbone.options.width_multiple) == (101, 2)
    assert recipe.teacher.export is True
