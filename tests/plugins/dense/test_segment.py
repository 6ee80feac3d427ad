"""`sslcli eval segment` on pictures of coloured rectangles."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sslcli_dense.example import write_scenes
from sslcli_dense.maps import Maps, grid_of, stride_of
from torch import nn

from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.nn.encoders import TimmNetwork
from sslcli.nn.image_sizes import fitted

TINY = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 4, "num_heads": 2, "num_classes": 0}


def network(**other):
    torch.manual_seed(0)
    return TimmNetwork.create("vit_tiny_patch16_224", **{**TINY, **other}).eval()


@pytest.fixture(scope="session")
def scene_folder(tmp_path_factory):
    """25 pictures with two rectangles each; leave it as it is."""
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def trained(hardly_trained, scene_folder):
    """A run with patches of 8 pixels."""
    return hardly_trained(scene_folder / "images")


def judged(trained, data, capsys, *more):
    """The report of a command that ends well."""
    capsys.readouterr()
    assert run(["eval", "segment", str(trained), "--data", str(data), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_head_learns_the_colours_of_rectangles(trained, scene_folder, capsys):
    report = judged(trained, scene_folder, capsys, "--image-size", "32", "--epochs", "40", "--no-save")
    every, *classes = report["results"]
    assert every["pixel_accuracy"] > 0.7
    assert every["pixel_accuracy"] > classes[0]["pixels"]  # what is right where all is said to be ground
    assert all(row["iou"] > 0.1 for row in classes)
    assert every["iou_interval"][0] <= every["iou"] <= every["iou_interval"][1]
    assert [row["class"] for row in classes] == ["ground", "red", "green"]
    assert sum(row["pixels"] for row in classes) == pytest.approx(1)
    assert (report["train"], report["test"]) == (20, 5)


def test_the_same_seed_gives_the_same_report(trained, scene_folder, capsys):
    first, second = (judged(trained, scene_folder, capsys, "--epochs", "2", "--no-save") for _ in range(2))
    assert first == second


def test_a_divided_folder_is_tested_on_its_own_part(trained, scene_folder, tmp_path, capsys):
    for part, folder in (("train", "0"), ("val", "1")):
        for kind in ("images", "labels"):
            shutil.copytree(scene_folder / kind / folder, tmp_path / "set" / kind / part)
    report = judged(trained, tmp_path / "set", capsys, "--epochs", "1", "--no-save")
    assert (report["train"], report["test"]) == (13, 12)
    assert "tested on val (12 pictures)" in report["data"]


def test_a_picture_that_cannot_be_read_is_counted_and_left_out(trained, scene_folder, tmp_path, capsys):
    data = shutil.copytree(scene_folder, tmp_path / "set")
    (data / "images" / "0" / "00.png").write_bytes(b"not a picture")
    report = judged(trained, data, capsys, "--epochs", "1", "--no-save", "--broken-limit", "0.1")
    assert report["train"] + report["test"] == 24


def spoilt(folder, how):
    """Do one thing wrong in a set."""
    label = folder / "labels" / "0" / "00.png"
    if how == "missing":
        label.unlink()
    elif how == "size":
        Image.new("L", (5, 5)).save(label)
    elif how == "colours":
        Image.new("RGB", Image.open(label).size).save(label)
    elif how == "one class":
        for file in folder.rglob("labels/*/*.png"):
            Image.new("L", Image.open(file).size).save(file)
    else:
        shutil.rmtree(folder / "labels")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "1 of 25 pictures have no label"),
        ("size", "00.png is 5x5, its picture"),
        ("colours", "00.png has colours (RGB), where a label has numbers"),
        ("one class", "the labels of the training pictures name only class 0"),
        ("no labels", "no folder"),
    ],
)
def test_what_is_wrong_with_the_pictures_is_told(how, message, trained, scene_folder, tmp_path, capsys):
    data = shutil.copytree(scene_folder, tmp_path / "set")
    spoilt(data, how)
    seed = next(str(seed) for seed in range(9) if 0 not in held(25, seed))  # the spoilt picture is learnt from
    assert run(["eval", "segment", str(trained), "--data", str(data), "--seed", seed, "--no-save"]) == 2
    assert message in capsys.readouterr().err


def held(count, seed):
    """Which pictures are held out."""
    from sslcli.data.judged import stratified

    return np.flatnonzero(stratified(np.zeros(count, np.int64), seed)).tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image-size", "30"], "--image-size 30 is no multiple of the 8 pixels of a token"),
        (["--image-size", "8"], "a single token"),
        (["--classes", "2"], "the labels name class 2, but there are 2 classes"),
        (["--layers", "3"], "--layers 3"),
        (["--layers", "4"], "has no 4 last blocks"),  # the tiny ViT has two
    ],
)
def test_mistakes_are_told(arguments, message, trained, scene_folder, capsys):
    assert run(["eval", "segment", str(trained), "--data", str(scene_folder), "--no-save", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_pixels_and_a_missing_folder_are_refused(trained, scene_folder, capsys):
    assert run(["eval", "segment", "pixels", "--data", str(scene_folder)]) == 2
    assert "pixels has no backbone" in capsys.readouterr().err
    assert run(["eval", "segment", str(trained)]) == 2
    assert "name their folder: --data DIR" in capsys.readouterr().err


def test_maps_are_the_patch_tokens_row_by_row():
    backbone = network()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        maps, tokens = Maps(backbone)(images), backbone.features(images).patches
    assert maps.shape == (2, 32, 4, 4)
    assert torch.equal(maps[:, :, 1, 2], tokens[:, 6])


def test_four_layers_are_those_of_timm_one_after_the_other():
    backbone = network()
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found = Maps(backbone, 4)(images)
        expected = backbone.model.get_intermediate_layers(images, n=4, norm=True, reshape=True)
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-5)


def test_a_timm_network_is_brought_to_another_size_as_a_copy():
    backbone = network()
    wider = fitted(backbone, (24, 32), hint="")
    with torch.no_grad():
        assert Maps(wider)(torch.zeros(1, 3, 24, 32)).shape == (1, 32, 6, 8)
    assert backbone.model.pos_embed.shape == network().model.pos_embed.shape
    assert fitted(backbone, (16, 16), hint="") is backbone


def test_a_network_of_one_size_is_refused_at_another():
    mixer = TimmNetwork.create("mixer_s32_224", img_size=64, num_classes=0)
    with pytest.raises(UserError, match="MlpMixer takes no images of 96 x 96 pixels"):
        fitted(mixer, (96, 96), hint="")


def test_the_stride_is_the_patch_of_a_vit_and_that_of_the_last_map_of_a_resnet():
    resnet = TimmNetwork.create("test_resnet", num_classes=0)
    assert (stride_of(network(), 16), stride_of(resnet, 40)) == (4, 32)


def test_tokens_that_are_no_grid_are_refused():
    assert grid_of(24, (32, 48)) == (4, 6)
    with pytest.raises(UserError, match="are no grid"):
        grid_of(7, (32, 32))


def test_a_backbone_is_left_in_its_mode():
    backbone = network()
    backbone.train()
    stride_of(backbone, 16)
    assert all(module.training for module in backbone.modules() if isinstance(module, nn.Linear))
