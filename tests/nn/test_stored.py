"""A backbone on disk: written whole, opened by timm, loaded back with a report."""

import argparse
import json
import pickle
from copy import deepcopy

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from sslcli_resnet.backbone import Resnet
from sslcli_resnet.options import ResnetOptions
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from torch import nn

from sslcli.api import Context
from sslcli.errors import RunError, UserError
from sslcli.nn import stored
from sslcli.nn.experts import Experts
from sslcli.nn.positions import resize_positions
from sslcli.nn.stored import load_into, load_state, read_card, save_backbone

CARD = {
    "backbone": "vit",
    "image_size": 32,
    "mean": (0.5, 0.4, 0.3),
    "std": (0.2, 0.2, 0.1),
    "crop_share": 0.9,
    "step": 7,
}


def vit(size=32, seed=0, **options):
    torch.manual_seed(seed)
    merged = {"width": 24, "depth": 2, "heads": 2, "patch_size": 8, **options}
    return Vit(VitOptions(**merged), Context(image_size=size)).eval()


def resnet(**options):
    torch.manual_seed(0)
    return Resnet(ResnetOptions(depth=18, **options), Context(image_size=32)).eval()


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


BUILDS = {
    "learned": vit,
    "sincos": lambda: vit(positions="sincos"),
    "registers": lambda: vit(registers=2, pool="mean"),
    "no class token": lambda: vit(class_token=False),
    "dinov2": lambda: vit(56, model="vit_base_patch14_reg4_dinov2", patch_size=14),
    "resnet": resnet,
}


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
def test_timm_opens_the_folder_as_it_is(tmp_path, build):
    backbone = build()
    size = backbone.grid[0] * backbone.patch_size
    save_backbone(tmp_path, backbone, {**CARD, "image_size": size})
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert equal(plain.state_dict(), backbone.exported.state_dict())
    for pixels in (size, 2 * size):
        images = torch.randn(2, 3, pixels, pixels)
        assert torch.allclose(plain(images), backbone.features(images).pooled, atol=1e-5)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS.keys())
def test_timm_builds_it_from_the_config_and_loads_the_file(tmp_path, build):
    backbone = build()
    save_backbone(tmp_path, backbone, CARD)
    config = json.loads((tmp_path / "config.json").read_text())
    path = tmp_path / "backbone.safetensors"
    plain = timm.create_model(config["architecture"], **config["model_args"], checkpoint_path=path)
    missing, unexpected = plain.load_state_dict(load_file(path), strict=False)
    assert (missing, unexpected) == ([], [])


@pytest.mark.parametrize(("build", "head"), [(vit, "head"), (resnet, "fc")], ids=["vit", "resnet"])
def test_timm_opens_it_for_a_new_task(tmp_path, build, head):
    backbone = build()
    save_backbone(tmp_path, backbone, CARD)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=10)
    assert plain.get_submodule(head).out_features == 10
    images = torch.randn(2, 3, 32, 32)
    expected = backbone.features(images).tokens if head == "fc" else backbone.features(images).normed
    given = plain.eval().forward_features(images)
    assert torch.allclose(given if head == "head" else given.flatten(2).transpose(1, 2), expected, atol=1e-5)


def test_timm_reads_how_to_prepare_pictures(tmp_path):
    save_backbone(tmp_path, vit(), CARD)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    data = timm.data.resolve_model_data_config(plain)
    assert tuple(data["input_size"]) == (3, 32, 32)
    assert (tuple(data["mean"]), tuple(data["std"]), data["crop_pct"]) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), 0.9)


def test_the_card_comes_back_from_folder_and_files(tmp_path):
    save_backbone(tmp_path, vit(), CARD)
    for path in (tmp_path, tmp_path / "config.json", tmp_path / "backbone.safetensors"):
        card = read_card(path)
        assert card["step"] == 7
        assert card["mean"] == [0.5, 0.4, 0.3]
    assert read_card(tmp_path)["version"]


def test_a_folder_without_a_card_is_told(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_card(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="not written by sslcli"):
        read_card(tmp_path)


def test_a_failed_save_leaves_the_one_before(tmp_path, monkeypatch):
    save_backbone(tmp_path, vit(seed=0), CARD)
    before = load_file(tmp_path / "backbone.safetensors")

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "save_file", full)
    with pytest.raises(RunError, match="No space left"):
        save_backbone(tmp_path, vit(seed=1), CARD)
    assert equal(load_file(tmp_path / "backbone.safetensors"), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.safetensors", "config.json"]


def test_a_mixture_of_experts_tells_timm_why_it_cannot(tmp_path):
    backbone = vit()
    backbone.replace_mlp(1, lambda mlp: Experts(mlp, nn.Linear(24, 2), 2))
    save_backbone(tmp_path, backbone, CARD)
    with pytest.raises(RuntimeError, match="mixture of experts"):
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert load_into(deepcopy(backbone), load_state(tmp_path)).missing == ()


def test_weights_come_back_with_a_report(tmp_path):
    backbone, other = vit(seed=0), vit(seed=1)
    save_backbone(tmp_path, backbone, CARD)
    report = load_into(other, load_state(tmp_path))
    assert equal(other.exported.state_dict(), backbone.exported.state_dict())
    assert len(report.matched) == len(backbone.exported.state_dict())
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    assert report.text() == f"loaded 30 of 30 tensors from {tmp_path / 'backbone.safetensors'}"


def test_missing_and_unexpected_names_are_listed():
    state = vit(seed=1).exported.state_dict()
    norm = state.pop("norm.weight")
    state["head.weight"] = norm
    report = load_into(vit(), state)
    assert report.missing == ("norm.weight",)
    assert report.unexpected == ("head.weight",)
    assert report.text() == "loaded 29 of 30 tensors\nleft at their start: norm.weight; not used: head.weight"


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.base_encoder.", "model.online.model."])
def test_names_may_have_a_prefix(prefix):
    state = {prefix + name: tensor for name, tensor in vit(seed=1).exported.state_dict().items()}
    backbone = vit()
    report = load_into(backbone, state | {"module.head.weight": torch.zeros(3)})
    assert equal(backbone.exported.state_dict(), vit(seed=1).exported.state_dict())
    assert report.unexpected == ("module.head.weight",)
    assert f"({prefix.strip('.')})" in report.text()


@pytest.mark.parametrize(
    ("first", "second"),
    [("base_encoder", "momentum_encoder"), ("teacher", "student"), ("backbone.online.model", "backbone.target.model")],
)
def test_of_two_networks_one_is_taken_and_said(first, second):
    taken, left = vit(seed=1).exported.state_dict(), vit(seed=2).exported.state_dict()
    state = {f"{second}.{n}": t for n, t in left.items()} | {f"{first}.{n}": t for n, t in taken.items()}
    backbone = vit()
    report = load_into(backbone, state)
    assert equal(backbone.exported.state_dict(), taken)
    assert f"({first}, not {second})" in report.text()


@pytest.mark.parametrize("source", [{}, {"registers": 3}, {"class_token": False}])
@pytest.mark.parametrize("target", [{}, {"registers": 3}, {"class_token": False}])
def test_positions_are_resized_to_the_grid_under_any_prefix(source, target):
    given, backbone = vit(size=48, seed=1, **source), vit(**target)
    start = backbone.model.pos_embed.detach().clone()
    report = load_into(backbone, given.exported.state_dict())
    theirs, own = given.prefix_tokens, backbone.prefix_tokens
    table, shared = backbone.model.pos_embed, min(theirs, own)
    assert torch.equal(table[:, own:], resize_positions(given.model.pos_embed[:, theirs:], (6, 6), (4, 4)))
    assert torch.equal(table[:, :shared], given.model.pos_embed[:, :shared])
    assert torch.equal(table[:, shared:own], start[:, shared:own])
    assert report.resized == ("pos_embed",)


def test_positions_that_are_no_grid_are_told():
    state = vit().exported.state_dict() | {"pos_embed": torch.zeros(1, 60, 24)}
    with pytest.raises(UserError, match="60 positions"):
        load_into(vit(), state)


def test_another_patch_size_is_refused_with_the_one_to_set():
    with pytest.raises(UserError, match="patches of 16 pixels, the backbone has patches of 8") as error:
        load_into(vit(), vit(patch_size=16).exported.state_dict())
    assert error.value.hint == "set backbone.patch_size = 16"


def test_another_width_is_refused_with_the_shapes():
    with pytest.raises(UserError, match=r"cls_token is \[1, 1, 48\], not \[1, 1, 24\]"):
        load_into(vit(), vit(width=48).exported.state_dict())


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(UserError, match="nothing in the weights fits"):
        load_into(vit(), resnet().exported.state_dict())


def test_a_refused_load_changes_nothing():
    backbone = vit()
    before = {name: tensor.clone() for name, tensor in backbone.exported.state_dict().items()}
    with pytest.raises(UserError):
        load_into(backbone, vit(seed=1, mlp_ratio=2.0).exported.state_dict())
    assert equal(backbone.exported.state_dict(), before)


def test_a_dense_mlp_fills_every_expert():
    backbone, dense = vit(), vit(seed=1)
    backbone.replace_mlp(1, lambda mlp: Experts(mlp, nn.Linear(24, 2), 2))
    report = load_into(backbone, dense.exported.state_dict())
    for expert in backbone.model.blocks[1].mlp.experts:
        assert equal(expert.state_dict(), dense.model.blocks[1].mlp.state_dict())
    assert report.missing == ("blocks.1.mlp.routing.weight", "blocks.1.mlp.routing.bias")
    assert report.unexpected == ()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}, lambda s: {"state_dict": {"model": s}}]
)
def test_torch_files_are_unwrapped(tmp_path, wrap):
    state = dict(vit(seed=1).exported.state_dict())
    torch.save(wrap(state) | {"args": argparse.Namespace(lr=1)}, tmp_path / "weights.pth")
    assert equal(load_state(tmp_path / "weights.pth"), state)


def test_of_teacher_and_student_the_teacher_is_taken_unless_the_reference_says_otherwise(tmp_path):
    teacher, student = ({"cls_token": torch.full((1, 1, 24), float(k))} for k in (1, 2))
    torch.save({"student": student, "teacher": teacher}, tmp_path / "both.pth")
    state = load_state(tmp_path / "both.pth")
    assert equal(state, teacher)
    assert state.origin.endswith('both.pth["teacher"]')
    assert equal(load_state(f"{tmp_path}/both.pth#student"), student)


def test_a_part_may_be_a_prefix_of_names(tmp_path):
    save_file({"module.a.w": torch.zeros(1), "module.b.w": torch.ones(1)}, tmp_path / "two.safetensors")
    assert equal(load_state(f"{tmp_path}/two.safetensors#b"), {"w": torch.ones(1)})
    with pytest.raises(UserError, match="no part 'c'"):
        load_state(f"{tmp_path}/two.safetensors#c")


def test_a_checkpoint_folder_gives_the_students_backbone(tmp_path):
    names = {f"backbone.online.model.{name}": tensor for name, tensor in vit(seed=1).exported.state_dict().items()}
    save_file(names | {"losses.mae.mask_token": torch.zeros(1)}, tmp_path / "model.safetensors")
    backbone = vit()
    load_into(backbone, load_state(tmp_path))
    assert equal(backbone.exported.state_dict(), vit(seed=1).exported.state_dict())


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_with_code_is_refused_unrun(tmp_path, capsys):
    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="could run code"):
        load_state(tmp_path / "evil.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("error")
def test_of_a_pickle_that_is_not_torchs_own_nothing_but_the_error_is_said(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"model": Evil()}, protocol=4))
    with pytest.raises(UserError, match="could run code"):
        load_state(tmp_path / "evil.pth")


def test_a_file_may_be_named_from_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save({"student": {"w": torch.ones(1)}, "teacher": {"w": torch.zeros(1)}}, tmp_path / "file.pth")
    assert load_state("~/file.pth#student")["w"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "does not exist"),
        ("broken.safetensors", b"nonsense", "cannot be read"),
        ("broken.pth", b"nonsense", "damaged"),
        ("empty.pt", b"", "cannot be read: it is empty"),
        ("text.pth", b"hello", "cannot be read: KeyError: 101"),
        ("weights.npz", b"", "no weights file"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_state(tmp_path / name)
    assert name in error.value.message
    assert error.value.hint


def test_a_folder_without_a_backbone_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match=r"holds no backbone\.safetensors") as error:
        load_state(tmp_path)
    assert "--resume" in error.value.hint


def test_a_file_without_tensors_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "loss": 0.5}, tmp_path / "log.pt")
    with pytest.raises(UserError, match="but: epoch, loss"):
        load_state(tmp_path / "log.pt")


def test_timms_weights_come_by_name(monkeypatch):
    calls = []

    def create(name, **arguments):
        calls.append((name, arguments))
        return nn.Linear(2, 2)

    monkeypatch.setattr("sslcli.nn.references.timm.create_model", create)
    assert set(load_state("timm:vit_small_patch16_224.augreg_in1k")) == {"weight", "bias"}
    assert calls == [("vit_small_patch16_224.augreg_in1k", {"pretrained": True, "num_classes": 0})]


def test_timms_weights_without_a_network_are_told(monkeypatch):
    def offline(name, **arguments):
        raise OSError("Connection refused\nand a long trace")

    monkeypatch.setattr("sslcli.nn.references.timm.create_model", offline)
    with pytest.raises(UserError, match=r"cannot be loaded: Connection refused$") as error:
        load_state("timm:vit_small_patch16_224")
    assert "network" in error.value.hint


def test_a_misspelt_timm_name_is_mended():
    with pytest.raises(UserError, match="no model 'vit_smal_patch16_224'") as error:
        load_state("timm:vit_smal_patch16_224")
    assert "vit_small_patch16_224" in error.value.hint
