"""A file, an importer and a recipe become a run; what does not fit is refused, and nothing half-written stays."""

import json
import pickle
from argparse import Namespace
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslcli import disk
from sslcli.errors import RunError, UserError
from sslcli.nn.loading import some
from sslcli.plugins import load_registry
from sslcli.recipe import load_recipe
from sslcli.recipe.flags import options_from_flags
from sslcli.testing.recipes import tiny_document
from sslcli.training import importing
from sslcli.training.checkpoint import sha256
from sslcli.training.importing import ImportedRun, import_run, read_document

PLUGIN = '''
"""An importer of state dicts as they are, and one that forgets what it returns."""
from sslcli.api import Importer, Options, hookimpl
from sslcli.nn import Imported

class AsTheyAre(Options):
    """What to change."""
    export: bool = True  # as the teacher's

@hookimpl
def sslcli_importers():
    yield Importer("as_they_are", AsTheyAre, "test_as_they_are:read")
    yield Importer("forgetful", AsTheyAre, "test_as_they_are:forget")

def read(options, document):
    weights = document["weights"] if "weights" in document else document
    return Imported(weights, RECIPE | {"teacher": {"export": options.export}}, 12, "what was found")

def forget(options, document):
    return document

RECIPE = '''
Import = Callable[..., ImportedRun]


@pytest.fixture
def plugin(tmp_path: Path, picture_folder: Path, fresh_registry: None) -> Path:
    """A single-file plugin with two importers, whose recipe is the tiny one."""
    path = tmp_path / "test_as_they_are.py"
    path.write_text(PLUGIN + repr(tiny_document(picture_folder, loss=[{"name": "moco_v3"}])))
    return path


@pytest.fixture
def import_file(tmp_path: Path, plugin: Path) -> Import:
    """`import_file(path)`: the run that is made of a file, in `tmp_path / "run"`."""

    def call(path: Path, name: str = "as_they_are", folder: Path | None = tmp_path / "run", *flags: str) -> ImportedRun:
        offer = load_registry([plugin]).find("importer", name)
        return import_run(offer, options_from_flags(offer, flags), path, folder=folder, plugin_files=[plugin])

    return call


def state(seed: int = 0) -> dict[str, Tensor]:
    """Weights of the tiny recipe's backbone."""
    torch.manual_seed(seed)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    tensors: dict[str, Tensor] = timm.create_model("vit_small_patch16_224", num_classes=0, **sizes).state_dict()
    return tensors


def saved(path: Path, document: Any) -> Path:
    """A file with this document."""
    torch.save(document, path)
    return path


def names_in(folder: Path) -> list[str]:
    """What is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_run_is_made_with_recipe_environment_and_backbone(tmp_path: Path, import_file: Import) -> None:
    made = import_file(saved(tmp_path / "a.pth", {"weights": state()}))
    assert names_in(made.folder) == ["backbone.safetensors", "config.json", "environment.json", "recipe.toml"]
    weights = load_file(made.folder / "backbone.safetensors")
    assert all(torch.equal(weights[name], tensor) for name, tensor in state().items())
    assert (made.recipe, made.epoch, made.tensors, made.said) == ("tiny", 12.0, len(state()), "what was found")


def test_timm_opens_the_run(tmp_path: Path, import_file: Import) -> None:
    made = import_file(saved(tmp_path / "a.pth", {"weights": state()}))
    model = timm.create_model(f"local-dir:{made.folder}", pretrained=True)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in state().items())


def test_the_environment_says_what_the_run_was_made_of(tmp_path: Path, import_file: Import, plugin: Path) -> None:
    path = saved(tmp_path / "a.pth", {"weights": state()})
    noted = json.loads((import_file(path).folder / "environment.json").read_text())
    origin = noted["imported"]
    assert (origin["file"], origin["sha256"], origin["bytes"]) == (str(path), sha256(path), path.stat().st_size)
    assert (origin["importer"], origin["package"], origin["options"]) == ("as_they_are", plugin.name, {"export": True})
    assert origin["version"].startswith("sha256:")
    assert noted["sessions"][0]["started"]
    assert {used["name"] for used in noted["plugins"]} >= {"test_as_they_are", "vit", "moco_v3"}


def test_the_recipe_of_the_run_is_whole_and_names_the_plugin_file(
    tmp_path: Path, import_file: Import, plugin: Path
) -> None:
    made = import_file(saved(tmp_path / "a.pth", {"weights": state()}))
    recipe = load_recipe(made.folder / "recipe.toml")
    assert recipe.document["plugins"] == [str(plugin)]
    assert recipe.backbone.options.width == 32


def test_the_card_says_of_which_network_the_weights_are(tmp_path: Path, import_file: Import) -> None:
    path = saved(tmp_path / "a.pth", {"weights": state()})
    teacher = import_file(path).folder
    student = import_file(path, "as_they_are", tmp_path / "other", "export=false").folder
    networks = [json.loads((run / "config.json").read_text())["sslcli"]["network"] for run in (teacher, student)]
    assert networks == ["teacher", "student"]


def test_without_a_folder_the_run_gets_the_name_of_its_recipe(
    tmp_path: Path, import_file: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "a.pth", {"weights": state()})
    folders = [import_file(path, folder=None).folder for _ in range(2)]
    assert folders == [Path("runs/tiny"), Path("runs/tiny-2")]


def test_a_safetensors_file_is_read_too(tmp_path: Path, import_file: Import) -> None:
    save_file(state(), tmp_path / "a.safetensors")
    assert import_file(tmp_path / "a.safetensors").tensors == len(state())


def test_half_precision_is_widened(tmp_path: Path, import_file: Import) -> None:
    halves = {name: tensor.bfloat16() for name, tensor in state().items()}
    weights = load_file(import_file(saved(tmp_path / "a.pth", {"weights": halves})).folder / "backbone.safetensors")
    assert all(torch.equal(weights[name], tensor.float()) for name, tensor in halves.items())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"norm.weight": None, "norm.bias": None}, "2 missing: norm.weight, norm.bias"),
        ({"head.weight": torch.ones(1)}, "1 unknown: head.weight"),
        ({"norm.bias": torch.zeros(31)}, "1 of another shape: norm.bias [31] instead of [32]"),
        ({"norm.bias": torch.full((32,), torch.nan)}, "1 not finite: norm.bias"),
        ({"norm.bias": None, "extra": torch.ones(1)}, "1 missing: norm.bias; 1 unknown: extra"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name_and_leave_nothing(
    change: dict[str, Tensor | None], complaint: str, tmp_path: Path, import_file: Import
) -> None:
    weights = {name: tensor for name, tensor in (state() | change).items() if tensor is not None}
    before = [*names_in(tmp_path), "a.pth"]
    with pytest.raises(UserError) as told:
        import_file(saved(tmp_path / "a.pth", {"weights": weights}))
    assert complaint in told.value.message
    assert names_in(tmp_path) == sorted(before)


def test_an_importer_that_returns_something_else_is_named(tmp_path: Path, import_file: Import) -> None:
    with pytest.raises(UserError, match="'forgetful' returned a dict"):
        import_file(saved(tmp_path / "a.pth", {}), "forgetful")


def test_a_folder_that_is_taken_is_refused_before_the_file_is_read(tmp_path: Path, import_file: Import) -> None:
    made = import_file(saved(tmp_path / "a.pth", {"weights": state()}))
    with pytest.raises(UserError, match="run is already there") as told:
        import_file(tmp_path / "there is no such file.pth")
    assert told.value.hint == "name another folder with --output"
    assert made.folder.is_dir()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_nothing_behind(
    failure: BaseException, tmp_path: Path, import_file: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise failure

    path = saved(tmp_path / "a.pth", {"weights": state()})
    before = names_in(tmp_path)
    monkeypatch.setattr(disk, "settle", fail)
    with pytest.raises((RunError, KeyboardInterrupt)):
        import_file(path)
    assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.pth", "there is no file"), (".", "is a folder"), ("words.txt", "is no weights file")],
)
def test_what_is_no_file_of_weights_is_refused(name: str, message: str, tmp_path: Path, import_file: Import) -> None:
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(UserError, match=message):
        import_file(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_was_cut_anywhere_is_refused_and_not_by_another_exception(zipped: bool, tmp_path: Path) -> None:
    document = {"weights": {f"block.{block}.weight": torch.ones(3) for block in range(6)}, "args": Namespace(a=1)}
    torch.save(document, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a.pth").read_bytes()
    for length in range(0, len(whole), len(whole) // 100):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.pth"):
            read_document(tmp_path / "a.pth")


def test_the_arguments_of_a_file_are_read_as_they_were_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"args": Namespace(epochs=3), "epoch": 3})
    assert read_document(path) == {"args": Namespace(epochs=3), "epoch": 3}


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".dill"])
def test_a_pickle_of_another_library_is_read_and_what_it_would_call_is_a_record(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps({"weights": numpy.ones(3), "version": Fraction(1, 2)}, 2))
    document = read_document(path)
    assert torch.equal(document["weights"].tensor(), torch.ones(3, dtype=torch.float64))
    assert str(document["version"].maker) == "fractions.Fraction"


def test_names_beyond_a_screenful_are_counted() -> None:
    assert some(tuple(str(number) for number in range(10)), importing.MOST_NAMES) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
