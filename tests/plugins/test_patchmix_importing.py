"""The released checkpoints of PatchMix, made by code in each of their layouts, become runs with the same features."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sslcli_patchmix.import_options import PatchMixImportOptions
from sslcli_patchmix.importing import import_patchmix
from sslcli_patchmix.released import RELEASED, Shape, recipe_of
from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn import Imported
from sslcli.plugins import load_registry
from sslcli.recipe import recipe_from_document
from sslcli.training.building import build_backbone, context_of
from sslcli.training.importing import import_run

State = dict[str, Tensor]
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@cache
def vit(seed: int = 0, width: int = 192, depth: int = 12, heads: int = 3, **sizes: int) -> Any:
    """A plain timm ViT, by default a ViT-T/2, with weights to tell blocks apart."""
    torch.manual_seed(seed)
    small = {"img_size": 32, "patch_size": 2, "num_heads": heads, **sizes}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0, embed_dim=width, depth=depth, **small)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def encoder(model: Any, prefix: str) -> State:
    """A backbone and its projector: 150 and 15 tensors."""
    projector = [f"head.{layer}.weight" for layer in (0, 3, 6)]
    projector += [f"head.{layer}.{part}" for layer in (1, 4) for part in NORM] + [f"head.7.{p}" for p in NORM[2:]]
    return {f"{prefix}.{name}": tensor for name, tensor in model.state_dict().items()} | {
        f"{prefix}.{name}": torch.randn(3) for name in projector
    }


def released(student: Any, teacher: Any | None, *, prefix: str = "") -> State:
    """All of a file's state_dict: 342 tensors with a teacher."""
    predictor = ["0.weight", *(f"1.{part}" for part in NORM), "3.weight", *(f"4.{part}" for part in NORM[2:])]
    state = encoder(student, "base_encoder") | {f"predictor.{name}": torch.randn(3) for name in predictor}
    state |= encoder(teacher, "momentum_encoder") if teacher is not None else {}
    return {prefix + name: tensor for name, tensor in state.items()}


def converted(document: Any, **options: Any) -> Imported:
    return import_patchmix(PatchMixImportOptions(**options), document)


def refused(document: Any, **options: Any) -> UserError:
    with pytest.raises(UserError) as told:
        converted(document, **options)
    return told.value


def import_file(path: Path, **options: Any) -> Path:
    offer = load_registry().find("importer", "patchmix")
    import_run(offer, PatchMixImportOptions(**options), path, folder=path.with_name("run"))
    return path.with_name("run")


def cls(model: Any) -> Tensor:
    size = model.patch_embed.img_size[0]
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        features: Tensor = model.forward_features(images)[:, 0]
    return features


def test_a_released_file_has_as_many_tensors_as_the_authors_say():
    assert len(released(vit(), vit())) == 342


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 300, "arch": "vit_tiny", "state_dict": state, "optimizer": {}, "scaler": {}},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: state,
    ],
)
def test_a_file_of_every_layout_becomes_a_run_with_the_same_features(wrap, tmp_path):
    torch.save(wrap(released(vit(0), vit(1))), tmp_path / "last.pth")
    opened = timm.create_model(f"local-dir:{import_file(tmp_path / 'last.pth')}", pretrained=True)
    assert torch.allclose(cls(opened), cls(vit(1)), atol=1e-5)


def test_the_teacher_is_taken_unless_the_student_is_asked_for():
    document = {"state_dict": released(vit(0), vit(1))}
    teacher, student = converted(document), converted(document, network="student")
    assert torch.equal(teacher.weights["norm.weight"], vit(1).norm.weight)
    assert torch.equal(student.weights["norm.weight"], vit(0).norm.weight)
    assert (teacher.recipe["teacher"]["export"], student.recipe["teacher"]["export"]) == (True, False)


def test_of_a_file_without_a_teacher_the_student_must_be_asked_for():
    document = {"state_dict": released(vit(), None)}
    assert refused(document).hint == "take the student: --set network=student"
    assert len(converted(document, network="student").weights) == 150


def test_heads_are_counted_and_left_out_and_the_epoch_is_told():
    imported = converted({"state_dict": released(vit(), vit()), "epoch": 400})
    assert "left out: 26 of its heads" in imported.said
    assert (len(imported.weights), imported.epoch) == (150, 400)
    assert converted({"state_dict": released(vit(), vit())}, epochs=800.0).epoch == 800


def test_a_vit_small_has_twelve_heads_and_no_other_number_is_taken(tmp_path):
    model = vit(width=384, heads=12)
    document = {"state_dict": released(model, model)}
    assert "have 12 heads of attention, not 6" in refused(document, heads=6).message
    torch.save(document, tmp_path / "last.pth")
    opened = timm.create_model(f"local-dir:{import_file(tmp_path / 'last.pth', heads=12)}", pretrained=True)
    assert opened.blocks[0].attn.num_heads == 12
    assert torch.allclose(cls(opened), cls(model), atol=1e-5)


@pytest.mark.parametrize("shape", RELEASED, ids=RELEASED.values())
def test_the_recipe_of_a_released_size_builds_a_network_of_that_size(shape):
    recipe = recipe_from_document(recipe_of(shape, "cifar100", teacher=True)[0], origin="a test")
    with torch.device("meta"):
        backbone = build_backbone(recipe, context_of(recipe, samples=recipe.train.batch_size))
    sizes = (backbone.width, backbone.depth, backbone.heads, backbone.patch_size, backbone.grid[0] * shape.patch_size)
    assert sizes == (shape.width, shape.depth, shape.heads, shape.patch_size, shape.image_size)
    assert (recipe.evaluation.pool, recipe.teacher.export) == ("cls", True)


def test_a_network_of_32_pixels_has_the_recipe_of_the_data_that_is_said():
    document = released(vit(), vit())
    assert converted(document).recipe["extends"] == "patchmix/vit_tiny-cifar10"
    assert converted(document, data="cifar100").recipe["extends"] == "patchmix/vit_tiny-cifar100"


def test_a_network_of_another_size_has_a_recipe_of_its_own_and_must_say_its_heads(tmp_path):
    model = vit(width=64, depth=2, heads=2, patch_size=8)
    assert refused(released(model, model)).hint == "say it: --set heads=N"
    torch.save(released(model, model), tmp_path / "last.pth")
    opened = timm.create_model(f"local-dir:{import_file(tmp_path / 'last.pth', heads=2)}", pretrained=True)
    assert torch.allclose(cls(opened), cls(model), atol=1e-5)
    document, said = recipe_of(Shape(64, 2, 2, 8, 32), "cifar10", teacher=True)
    assert "no recipe has this size" in said
    assert recipe_from_document(document, origin="a test").backbone.options.width == 64


def test_a_tensor_that_is_missing_and_one_that_is_unknown_are_named(tmp_path):
    state = released(vit(), vit())
    del state["momentum_encoder.blocks.3.mlp.fc1.bias"]
    state["momentum_encoder.blocks.2.gamma"] = torch.ones(1)
    torch.save({"state_dict": state}, tmp_path / "last.pth")
    with pytest.raises(UserError, match=r"missing: blocks\.3\.mlp\.fc1\.bias; 1 unknown: blocks\.2\.gamma"):
        import_file(tmp_path / "last.pth")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "it holds a NoneType"),
        ({}, "it holds nothing"),
        ({"state_dict": {"head.weight": torch.ones(1)}}, "pre-training: it holds head.weight"),
        ({"state_dict": {"base_encoder.cls_token": 3}}, "pre-training: it holds base_encoder.cls_token"),
        ({"base_encoder.a": torch.ones(1), "extra": torch.ones(1)}, "PatchMix's files have no extra"),
        ({"momentum_encoder.cls_token": torch.ones(1)}, "cls_token, pos_embed, patch_embed.proj.weight"),
    ],
)
def test_another_file_is_refused_by_what_it_holds(document, said):
    assert said in refused(document).message


@pytest.mark.parametrize("rows", [1, 200])
def test_positions_that_are_no_square_grid_are_refused(rows):
    state = released(vit(depth=1), vit(depth=1)) | {"momentum_encoder.pos_embed": torch.zeros(1, rows, 192)}
    assert f"pos_embed has {rows} rows" in refused(state).message
