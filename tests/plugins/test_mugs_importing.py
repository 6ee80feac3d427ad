"""The released checkpoints of Mugs, made by code in each of their layouts, become runs with the same features."""

import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from sslcli_mugs.import_options import MugsImportOptions
from sslcli_mugs.importing import import_mugs, names_of_backbone
from sslcli_mugs.released import RELEASED, Shape, recipe_of
from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn import Imported
from sslcli.plugins import load_registry
from sslcli.recipe import recipe_from_document
from sslcli.training.building import build_backbone, context_of
from sslcli.training.importing import import_run

WIDTH, PROTOTYPES = 64, 5
State = dict[str, Tensor]


def vit(seed: int = 0, width: int = WIDTH, depth: int = 12, **sizes: int) -> Any:
    """A plain timm ViT, by default of width 64 with patches of 8 in images of 32, with weights to tell blocks apart."""
    torch.manual_seed(seed)
    small = {"img_size": 32, "patch_size": 8, "num_heads": max(width // 64, 1)}
    model = timm.create_model(
        "vit_small_patch16_224", num_classes=0, embed_dim=width, depth=depth, **{**small, **sizes}
    )
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def backbone_state(model: Any) -> State:
    """Backbone and relation block as Mugs names them: 162 tensors, or 306 with 24 blocks."""
    plain = model.state_dict()
    relation = {name.replace("blocks.0", "relation_blocks.0"): plain[name] + 1 for name in plain if "blocks.0." in name}
    return {f"backbone.{name}": tensor for name, tensor in (plain | relation).items()}


def teacher_state(model: Any, *, modern: bool = False) -> State:
    """A teacher: 14 tensors of heads more."""
    magnitude, direction = (
        ("parametrizations.weight.original0", "parametrizations.weight.original1")
        if modern
        else ("weight_g", "weight_v")
    )
    heads = {
        f"{head}.projector.{layer}.weight": torch.randn(3, 3)
        for head in ("instance_head", "local_group_head", "group_head")
        for layer in (0, 2, 4)
    }
    biases = {f"group_head.projector.{layer}.bias": torch.randn(3) for layer in (0, 2, 4)}
    last = {
        f"group_head.last_layer.{magnitude}": torch.ones(PROTOTYPES, 1),
        f"group_head.last_layer.{direction}": torch.randn(PROTOTYPES, 3),
    }
    return backbone_state(model) | heads | biases | last


def student_state(model: Any, *, modern: bool = False) -> State:
    """A student, as DistributedDataParallel saves it: four tensors of predictors more, `module.` before each name."""
    predictors = {
        f"{head}.predictor.{layer}.weight": torch.randn(3, 3)
        for head in ("instance_head", "local_group_head")
        for layer in (0, 2)
    }
    return {f"module.{name}": tensor for name, tensor in (teacher_state(model, modern=modern) | predictors).items()}


def full(teacher: Any, student: Any, *, modern: bool = False, epochs: int = 100, **more: Any) -> dict[str, Any]:
    """A full file."""
    memory = {f"block.queue_{part}": torch.randn(6, WIDTH) for part in "qkv"}
    memory["block.queue_ptr"] = torch.zeros(1, dtype=torch.int64)
    queue = {"queue": torch.randn(3, 6), "queue_ptr": torch.zeros(1, dtype=torch.int64)}
    return {
        "student": student_state(student, modern=modern),
        "teacher": teacher_state(teacher, modern=modern),
        "student_mem": memory,
        "teacher_mem": memory,
        "optimizer": {"state": {0: {"step": 7, "exp_avg": torch.randn(3)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": epochs,
        "args": Namespace(epochs=epochs, arch="vit_small", norm_last_layer=False),
        "instance-sup.": queue,
        "local-group-sup.": queue,
        "group-sup.": {"center": torch.zeros(1, PROTOTYPES)},
        **more,
    }


def renamed(state: State, cut: str = "", put: str = "") -> State:
    """The state with another prefix."""
    return OrderedDict((put + name.removeprefix(cut), tensor) for name, tensor in state.items())


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "full": lambda model: full(model, vit(1)),
    "full, new names of weight norm": lambda model: full(model, vit(1), modern=True),
    "full, with a scaler": lambda model: full(model, vit(1), fp16_scaler={"scale": 2.0}),
    "full, teacher with module.": lambda model: {**full(model, vit(1)), "teacher": student_state(model)},
    "flat": lambda model: renamed(backbone_state(model), "backbone."),
    "flat, backbone.": lambda model: backbone_state(model),
    "flat, module.backbone.": lambda model: renamed(backbone_state(model), put="module."),
    "flat, module.": lambda model: renamed(backbone_state(model), "backbone.", "module."),
    "flat, no relation block": lambda model: model.state_dict(),
    "flat, with heads": lambda model: teacher_state(model),
    "state_dict": lambda model: {"state_dict": renamed(backbone_state(model), "backbone.")},
    "state_dict, backbone.": lambda model: {"state_dict": backbone_state(model), "epoch": 100},
    "state_dict, module.backbone.": lambda model: {"state_dict": renamed(backbone_state(model), put="module.")},
    "teacher": lambda model: {"teacher": renamed(backbone_state(model), "backbone.")},
    "teacher, backbone.": lambda model: {"teacher": backbone_state(model)},
    "teacher, module.backbone.": lambda model: {"teacher": renamed(backbone_state(model), put="module.")},
}


def import_file(path: Path, **options: Any) -> Path:
    """The run that is made of a file, beside it."""
    offer = load_registry().find("importer", "mugs")
    return import_run(offer, MugsImportOptions(**options), path, folder=path.with_name("run")).folder


def cls(model: Any) -> Tensor:
    """CLS features of fixed images, by the model's own forward."""
    images = torch.randn(2, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features: Tensor = model.eval().forward_features(images)[:, 0]
    return features


def converted(document: Any, **options: Any) -> Imported:
    """What the importer makes of a document."""
    return import_mugs(MugsImportOptions(**options), document)


def refused(document: Any, **options: Any) -> UserError:
    """Why the importer does not take a document."""
    with pytest.raises(UserError) as told:
        converted(document, **options)
    return told.value


@pytest.mark.parametrize(
    ("depth", "teacher", "student", "backbone"), [(12, 176, 180, 162), (24, 320, 324, 306)], ids=["S, B", "L"]
)
def test_the_files_of_these_tests_have_as_many_tensors_as_the_released_ones(
    depth: int, teacher: int, student: int, backbone: int
) -> None:
    model = vit(depth=depth)
    assert len(teacher_state(model)) == teacher
    assert len(student_state(model)) == student
    assert len(backbone_state(model)) == backbone
    assert {name.removeprefix("module.") for name in student_state(model)} - teacher_state(model).keys() == {
        f"{head}.predictor.{layer}.weight" for head in ("instance_head", "local_group_head") for layer in (0, 2)
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_every_layout_becomes_a_run_with_the_same_features(layout: str, tmp_path: Path) -> None:
    model = vit()
    torch.save(LAYOUTS[layout](model), tmp_path / "mugs.pth")
    run = import_file(tmp_path / "mugs.pth")
    opened = timm.create_model(f"local-dir:{run}", pretrained=True)
    assert torch.allclose(cls(opened), cls(model), atol=1e-5)


@pytest.mark.parametrize(("depth", "left_out"), [(12, 14), (24, 14)])
def test_relation_blocks_and_heads_are_counted_and_left_out(depth: int, left_out: int) -> None:
    model = vit(depth=depth)
    imported = converted(full(model, model))
    assert list(imported.weights) == names_of_backbone(model.state_dict())
    assert len(imported.weights) == (150, 294)[depth == 24]
    assert f"left out: 12 tensors of relation blocks and {left_out} of heads" in imported.said


def test_a_full_file_with_batch_norm_in_its_heads_is_known() -> None:
    document = full(vit(), vit())
    norms = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    document["teacher"] |= {f"instance_head.projector.1.{part}": torch.ones(3) for part in norms}
    assert "and 19 of heads" in converted(document).said


def test_the_teacher_is_taken_unless_the_student_is_asked_for() -> None:
    document = full(vit(0), vit(1))
    assert torch.equal(converted(document).weights["norm.weight"], vit(0).norm.weight)
    student = converted(document, network="student")
    assert torch.equal(student.weights["norm.weight"], vit(1).norm.weight)
    assert (student.recipe["teacher"]["export"], converted(document).recipe["teacher"]["export"]) == (False, True)


@pytest.mark.parametrize("layout", ["flat", "state_dict", "teacher"])
def test_a_student_is_not_to_be_had_of_a_file_with_one_network(layout: str) -> None:
    assert "student" in refused(LAYOUTS[layout](vit()), network="student").message


def test_a_file_with_the_student_alone_is_taken_when_it_is_asked_for() -> None:
    document = {"student": student_state(vit())}
    assert refused(document).hint == "take it: --set network=student"
    assert len(converted(document, network="student").weights) == 150


def test_half_precision_is_widened() -> None:
    document = {name: tensor.half() for name, tensor in backbone_state(vit()).items()}
    weights = converted(document).weights
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert torch.equal(weights["cls_token"], vit().cls_token.half().float())


def test_every_missing_and_every_unknown_tensor_is_named() -> None:
    document = full(vit(), vit())
    for name in ("blocks.3.mlp.fc1.bias", "norm.weight"):
        del document["teacher"][f"backbone.{name}"]
    document["teacher"] |= {"backbone.blocks.2.gamma": torch.ones(1), "head.mlp.0.weight": torch.ones(1)}
    message = refused(document).message
    assert "missing: blocks.3.mlp.fc1.bias, norm.weight;" in message
    assert message.endswith("unknown: blocks.2.gamma, head.mlp.0.weight")


def test_a_block_that_is_missing_is_named_tensor_by_tensor() -> None:
    document = {name: tensor for name, tensor in vit().state_dict().items() if "blocks.5." not in name}
    assert refused(document).message.count("blocks.5.") == 12


def test_the_blocks_of_a_network_without_any_are_missing() -> None:
    document = {name: tensor for name, tensor in vit().state_dict().items() if "blocks." not in name}
    assert "missing: blocks.0.norm1.weight" in refused(document).message


def test_an_entry_that_is_no_tensor_is_named() -> None:
    assert "no tensors: cls_token" in refused({"teacher": {**backbone_state(vit()), "backbone.cls_token": 3}}).message


def test_one_tensor_under_two_prefixes_is_refused() -> None:
    document = backbone_state(vit()) | {"module.backbone.cls_token": torch.zeros(1, 1, WIDTH)}
    assert "cls_token twice" in refused(document).message


def test_weights_beside_the_networks_that_nobody_knows_are_refused_and_words_are_told() -> None:
    assert "extra" in refused(full(vit(), vit(), extra={"a": [torch.ones(1)]})).message
    assert "passed over, being no weights: note" in converted(full(vit(), vit(), note="mine")).said


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "holds nothing"),
        (None, "a NoneType"),
        ([1], "a list"),
        ({"model": {"a": torch.ones(1)}, "optimizer": {}}, "no checkpoint of Mugs: it holds model, optimizer"),
        ({"state_dict": {"fc.weight": torch.ones(1)}}, "the state_dict has no backbone of Mugs: it holds fc.weight"),
        ({"teacher": {}}, "the teacher has no backbone of Mugs: it holds nothing"),
        ({1: torch.ones(1)}, "the file has no backbone of Mugs: it holds 1"),
    ],
)
def test_another_file_is_refused_by_what_it_holds(document: Any, said: str) -> None:
    assert said in refused(document).message


@pytest.mark.parametrize(
    ("name", "tensor", "said"),
    [
        ("cls_token", torch.zeros(WIDTH), "cls_token is [64]"),
        ("pos_embed", torch.zeros(1, 16, WIDTH), "pos_embed has 16 rows"),
        ("pos_embed", torch.zeros(1, 1, WIDTH), "pos_embed has 1 rows"),
        ("blocks.0.mlp.fc1.weight", torch.zeros(1), "blocks.0.mlp.fc1.weight is [1]"),
    ],
)
def test_tensors_that_tell_no_sizes_are_refused(name: str, tensor: Tensor, said: str) -> None:
    assert said in refused(vit().state_dict() | {name: tensor}).message


def test_a_tensor_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    torch.save(vit().state_dict() | {"blocks.7.attn.qkv.bias": torch.zeros(7)}, tmp_path / "mugs.pth")
    with pytest.raises(UserError, match=r"blocks\.7\.attn\.qkv\.bias \[7\] instead of \[192\]"):
        import_file(tmp_path / "mugs.pth")
    assert not (tmp_path / "run").exists()


def test_sizes_are_read_off_the_tensors() -> None:
    recipe = converted(vit(width=128, depth=3, patch_size=4, num_heads=2).state_dict()).recipe
    sizes = {"width": 128, "depth": 3, "heads": 2, "patch_size": 4, "image_size": 32, "mlp_ratio": 4.0}
    assert sizes.items() <= recipe["backbone"].items()
    assert recipe["views"]["global"]["size"] == 32


def test_heads_must_be_said_for_a_width_that_does_not_tell_them(tmp_path: Path) -> None:
    model = vit(width=48, depth=2, num_heads=3)
    assert refused(model.state_dict()).hint == "say it: --set heads=N"
    assert "5 heads do not divide a width of 48" in refused(model.state_dict(), heads=5).message
    torch.save(model.state_dict(), tmp_path / "mugs.pth")
    opened = timm.create_model(f"local-dir:{import_file(tmp_path / 'mugs.pth', heads=3)}", pretrained=True)
    assert torch.allclose(cls(opened), cls(model), atol=1e-5)


def test_the_epochs_of_a_full_file_are_told() -> None:
    imported = converted(full(vit(), vit(), epochs=40))
    assert (imported.epoch, imported.recipe["train"]["epochs"]) == (40.0, 40.0)
    assert "40 epochs of training" in imported.said


def test_the_epochs_of_a_backbone_alone_may_be_said() -> None:
    assert converted(backbone_state(vit())).epoch == 0
    assert converted(backbone_state(vit()), epochs=800).epoch == 800


@pytest.mark.parametrize("arguments", [None, 3, {"epochs": "many"}, Namespace(), {"epochs": float("nan")}])
def test_arguments_that_do_not_tell_the_epochs_are_no_harm(arguments: Any) -> None:
    assert converted({**full(vit(), vit()), "args": arguments}).recipe["train"]["epochs"] == 100.0


@pytest.mark.parametrize(
    ("shape", "epochs", "extends", "name"),
    [
        (Shape(384, 12, 6), 100, "mugs/vit_small-imagenet-100ep", "mugs-vit_small-100ep"),
        (Shape(384, 12, 6), 300, "mugs/vit_small-imagenet-300ep", "mugs-vit_small-300ep"),
        (Shape(384, 12, 6), 800, "mugs/vit_small-imagenet-800ep", "mugs-vit_small-800ep"),
        (Shape(384, 12, 6), None, "mugs/vit_small-imagenet-100ep", "mugs-vit_small"),
        (Shape(768, 12, 12), 400, "mugs/vit_base-imagenet-400ep", "mugs-vit_base-400ep"),
        (Shape(1024, 24, 16), None, "mugs/vit_large-imagenet-250ep", "mugs-vit_large"),
    ],
)
def test_a_released_size_has_its_recipe(shape: Shape, epochs: int | None, extends: str, name: str) -> None:
    document, _ = recipe_of(shape, epochs, teacher=True)
    assert (document["extends"], document["name"]) == (extends, name)
    recipe = recipe_from_document(document, origin="a test")
    assert (recipe.evaluation.pool, recipe.teacher.export) == ("cls", True)
    assert epochs in (None, recipe.train.epochs)


def test_a_released_size_that_was_trained_for_another_time_has_a_recipe_of_the_size_and_says_so() -> None:
    document, said = recipe_of(Shape(1024, 24, 16), 2, teacher=False)
    recipe = recipe_from_document(document, origin="a test")
    assert (recipe.name, recipe.train.epochs, recipe.teacher.export) == ("mugs-vit_large-2ep", 250.0, False)
    assert said.endswith("which is for another length than 2 epochs")


@pytest.mark.parametrize("shape", RELEASED, ids=[released.name for released in RELEASED.values()])
def test_the_recipe_of_a_released_size_builds_a_network_of_that_size(shape: Shape) -> None:
    recipe = recipe_from_document(recipe_of(shape, None, teacher=True)[0], origin="a test")
    with torch.device("meta"):
        backbone = build_backbone(recipe, context_of(recipe, samples=recipe.train.batch_size))
    state = backbone.exported.state_dict()
    assert set(state) == set(names_of_backbone(state))
    assert (backbone.width, backbone.depth, backbone.heads, backbone.patch_size) == (
        *(shape.width, shape.depth, shape.heads),
        shape.patch_size,
    )
    assert state["pos_embed"].shape == (1, 197, shape.width)


@pytest.mark.parametrize("other", [Shape(384, 12, 12), Shape(384, 12, 6, patch_size=8), Shape(384, 11, 6)])
def test_a_shape_that_differs_in_anything_has_a_recipe_of_its_own(other: Shape) -> None:
    document, said = recipe_of(other, None, teacher=True)
    assert "extends" not in document
    assert "no recipe has this size" in said
    recipe = recipe_from_document(document, origin="a test")
    assert recipe.backbone.options.heads == other.heads
    assert [loss.name for loss in recipe.losses] == ["mugs.instance", "mugs.local_group", "mugs.group"]


class Runs:
    """Executes a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("save", [torch.save, lambda document, path: path.write_bytes(pickle.dumps(document, 2))])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(save: Callable[..., Any], tmp_path: Path) -> None:
    save(full(vit(depth=1), vit(depth=1), fp16_scaler=Runs(f"touch {tmp_path / 'ran'}")), tmp_path / "mugs.pth")
    with pytest.raises(UserError, match="holds Python objects that could run code"):
        import_file(tmp_path / "mugs.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mugs.pth"]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_and_leaves_nothing(zipped: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "mugs.pth"
    torch.save(backbone_state(vit(depth=1)), path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"mugs\.pth"):
        import_file(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mugs.pth"]


@pytest.mark.slow
def test_a_vit_small_of_full_size_becomes_a_run_that_is_judged_as_timm_would_see_it(tmp_path: Path) -> None:
    model = vit(width=384, img_size=224, patch_size=16)
    torch.save(full(model, model, epochs=300), tmp_path / "vit_small_300ep.pth")
    run = import_file(tmp_path / "vit_small_300ep.pth")
    opened = timm.create_model(f"local-dir:{run}", pretrained=True)
    assert torch.allclose(cls(opened), cls(model), atol=1e-5)
    assert 'name = "mugs-vit_small-300ep"' in (run / "recipe.toml").read_text()
