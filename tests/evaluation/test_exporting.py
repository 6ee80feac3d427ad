"""Networks handed over to other tools: which one, that it is the same there, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from sslcli.errors import RunError, UserError
from sslcli.evaluation.card import Card, normalise, show
from sslcli.evaluation.exporting import handing, to_onnx, to_safetensors, to_timm, to_transformers
from sslcli.evaluation.exporting.answers import Answer, agreed, answer, apart, batch
from sslcli.evaluation.exporting.choosing import Chosen, choose, plain
from sslcli.evaluation.exporting.handing import hand_over
from sslcli.evaluation.exporting.transformers_names import renamed, split_attention, translate
from sslcli.evaluation.exporting.written import count_equal, require
from sslcli.evaluation.reports import Report, keep
from sslcli.evaluation.subjects import Subject
from sslcli.nn import Backbone
from sslcli.nn.encoders import Pooled, TimmNetwork
from sslcli.nn.experts import Experts
from sslcli.nn.stored import save_backbone
from sslcli.testing.steps import make_backbone, make_context

MakeRun = Callable[..., Path]
SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
RESNET = {"num_classes": 0, "layers": (1, 1, 1, 1), "channels": (8, 16, 24, 32)}


def chosen_of(backbone: Backbone, size: int = 32) -> Chosen:
    """A network as if it were chosen of a run."""
    subject = Subject("fake", "a network for a test", Pooled(backbone), Card(size), {})
    return plain("fake", "student", subject, None, subject.card.document())


def of_timm(model: nn.Module) -> Chosen:
    """A network of timm, with numbers that batch norm does not hide."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return chosen_of(TimmNetwork(model))


def rows(chosen: Chosen) -> Tensor:
    """The pooled features of the fixed batch."""
    return answer(chosen.backbone, batch(chosen.size)).pooled


def test_timm_opens_what_was_written_and_gives_the_features_of_the_run(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    handed = hand_over(str(run), "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    assert torch.allclose(model(batch(16)), rows(choose(str(run))), atol=1e-5)
    assert handed.written.found == handed.written.tensors == len(model.state_dict())
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        *("model.safetensors", "config.json", "README.md", "export.json")
    }


def test_the_teacher_is_taken_where_the_recipe_exports_it_and_the_student_where_it_is_named(make_run: MakeRun) -> None:
    run = make_run(teacher={"export": True})
    teacher, student = choose(str(run)), choose(str(run), "student")
    assert (teacher.network, student.network) == ("teacher", "student")
    assert choose(str(run / "checkpoints" / "step-00000001"), "student").network == "student"
    assert student.subject.said == "the student at step-00000001 of tiny"


def test_the_two_networks_of_a_run_are_told_apart(make_run: MakeRun) -> None:
    run = make_run(teacher={"export": True})
    file = run / "checkpoints" / "step-00000001" / "model.safetensors"
    name = "backbone.{}.model.cls_token"
    for network, place in (("student", "online"), ("teacher", "target")):
        state = choose(str(run), network).backbone.state_dict()
        assert torch.equal(state["model.cls_token"], load_file(file)[name.format(place)])


def test_the_network_that_was_not_saved_comes_from_the_newest_checkpoint(make_run: MakeRun) -> None:
    run = make_run(steps=(1, 2), teacher={"export": True})
    teacher = choose(str(run))
    save_backbone(run, teacher.backbone, {**teacher.facts, "step": 2})
    assert choose(str(run)).subject.said == "the teacher at step 2 of tiny"
    assert choose(str(run), "student").subject.said == "the student at step-00000002 of tiny"


def test_a_network_that_is_not_there_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(UserError, match="has no teacher"):
        choose(str(run), "teacher")
    save_backbone(tmp_path / "saved", choose(str(run)).backbone, choose(str(run)).facts)
    with pytest.raises(UserError, match="has saved its student"):
        choose(str(tmp_path / "saved"), "teacher")
    with pytest.raises(UserError, match="without a student or a teacher"):
        choose(f"random:{run}", "student")
    with pytest.raises(UserError, match="has no backbone"):
        choose("pixels")


def test_a_mixture_of_experts_is_refused_with_the_way_out() -> None:
    backbone = make_backbone(make_context())
    backbone.replace_mlp(0, lambda mlp: Experts(mlp, nn.Identity(), 2))
    with pytest.raises(UserError, match="mixture of experts") as refused:
        chosen_of(backbone)
    assert "sslcli moce select-expert fake" in refused.value.hint


def test_a_card_tells_recipe_data_evaluations_and_leaves_the_licence_open(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    found = [{"k": 20, "top1": 0.44, "top1_interval": [0.41, 0.47]}]
    keep(Report("knn", str(run), "the student at step 1", "demo", found, shares=("top1",)), run, {})
    hand_over(str(run), "timm", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\n# license: say here")
    for said in ("44.0% (41.0 to 47.0%)", "knn of the student at step 1", "simclr", "| epochs |", "sslcli export"):
        assert said in card
    assert f'timm.create_model("local-dir:{tmp_path / "out"}", pretrained=True)' in card


def test_the_report_is_kept_as_data(make_run: MakeRun, tmp_path: Path) -> None:
    handed = hand_over(str(make_run()), "safetensors", tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (kept["to"], kept["network"], kept["matched"]) == ("safetensors", "student", kept["tensors"])
    assert kept["command"] == handed.command


def test_a_safetensors_file_says_how_its_network_is_built(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    hand_over(str(run), "safetensors", tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    model = timm.create_model(said["architecture"], **json.loads(said["model_args"])).eval()
    model.load_state_dict(load_file(file))
    assert torch.allclose(model(batch(16)), rows(choose(str(run))), atol=1e-5)


def test_a_network_that_timm_does_not_have_goes_into_a_file_and_not_to_timm(make_run: MakeRun, tmp_path: Path) -> None:
    chosen = choose(str(make_run(backbone={"name": "resnet", "depth": 18, "stem": "small"})))
    with pytest.raises(UserError, match="timm has no network like this Resnet"):
        to_timm.write(chosen, tmp_path)
    written = to_safetensors.write(chosen, tmp_path)
    assert (written.found, written.difference) == (written.tensors, 0.0)


def test_a_tool_that_gives_other_features_leaves_nothing_behind(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_timm, "LIMIT", -1.0)
    run, folder = make_run(), tmp_path / "there"
    folder.mkdir()
    with pytest.raises(RunError, match="timm does not give the features of the run"):
        hand_over(str(run), "timm", folder / "out")
    assert list(folder.iterdir()) == []


def test_again_replaces_an_export_and_keeps_it_until_the_new_one_is_whole(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = str(make_run()), tmp_path / "out"
    hand_over(run, "timm", folder)
    with pytest.raises(UserError, match="already there"):
        hand_over(run, "safetensors", folder)
    monkeypatch.setattr(to_safetensors, "LIMIT", -1.0)
    with pytest.raises(RunError):
        hand_over(run, "safetensors", folder, again=True)
    assert (folder / "config.json").is_file()
    monkeypatch.setattr(to_safetensors, "LIMIT", 1e-4)
    hand_over(run, "safetensors", folder, again=True)
    assert not (folder / "config.json").exists()


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        handing.refuse_taken(tmp_path, again=True)
    with pytest.raises(UserError, match="named like a file"):
        handing.refuse_taken(tmp_path / "model.onnx", again=False)


def test_a_tool_that_is_missing_is_told_with_the_line_that_installs_it() -> None:
    with pytest.raises(UserError, match="no_such_package is not installed") as refused:
        require(("torch", "no_such_package"), "onnx")
    assert refused.value.hint == "pip install 'sslcli[onnx]'"


def test_answers_are_apart_by_their_largest_difference_and_nothing_passes_for_equal() -> None:
    one = Answer(torch.zeros(1, 2), torch.zeros(1, 3, 2))
    other = Answer(torch.tensor([[0.0, 0.5]]), torch.full((1, 3, 2), -0.25))
    broken = Answer(torch.tensor([[0.0, float("nan")]]), one.tokens)
    assert (apart(one, one), apart(one, other)) == (0.0, 0.5)
    assert apart(one, broken) == apart(one, Answer(one.pooled, one.tokens[:, :1])) == float("inf")
    with pytest.raises(RunError, match=r"differ by 5.0e-01"):
        agreed(one, other, "a tool", 1e-4)


def test_tensors_are_counted_by_name_and_number() -> None:
    own = {"a": torch.ones(2), "b": torch.ones(2), "c": torch.ones(2)}
    assert count_equal(own, {"a": torch.ones(2), "b": torch.zeros(2), "c": torch.ones(3)}) == 1


def test_query_key_and_value_are_the_thirds_of_timms_one_layer() -> None:
    state = {"blocks.0.attn.qkv.weight": torch.arange(12.0).view(6, 2), "norm.bias": torch.zeros(2)}
    split = split_attention(state)
    assert list(split) == [f"blocks.0.attn.{part}.weight" for part in ("query", "key", "value")] + ["norm.bias"]
    assert torch.equal(split["blocks.0.attn.key.weight"], torch.arange(12.0).view(6, 2)[2:4])


def test_names_that_no_rule_knows_are_told() -> None:
    found, unknown = renamed({"a.weight": torch.zeros(1), "b": torch.zeros(1)}, [(r"a\.(.*)", r"z.<3>.\1")])
    assert list(found) == ["z.2.weight"]
    assert unknown == ["there is no place for b"]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: VisionTransformer(**SMALL, class_token=False, global_pool="avg"), "no class token"),
        (lambda: VisionTransformer(**SMALL, init_values=1.0), "no place for blocks.0.ls1.gamma and 3 more"),
        (lambda: VisionTransformer(**SMALL, reg_tokens=2), "no place for reg_token"),
        (lambda: VisionTransformer(**SMALL, act_layer="quick_gelu"), "no plain one with GELU"),
        (lambda: ResNet(BasicBlock, stem_type="deep", **RESNET), "no 7x7 convolution"),
        (lambda: timm.create_model("convnext_atto", num_classes=0), "neither a plain ViT nor a plain ResNet"),
    ],
)
def test_what_transformers_does_not_have_is_refused_with_the_reason(
    model: Callable[[], nn.Module], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        to_transformers.write(chosen_of(TimmNetwork(model())), tmp_path)
    assert refused.value.hint == "use '--to timm'"


def test_the_configuration_of_a_vit_is_read_off_its_layers() -> None:
    config = translate(VisionTransformer(**SMALL, qkv_bias=False, mlp_ratio=2)).config
    assert (config["hidden_size"], config["intermediate_size"], config["qkv_bias"]) == (32, 64, False)
    assert (config["image_size"], config["patch_size"], config["layer_norm_eps"]) == (32, 16, 1e-6)


@pytest.mark.parametrize(
    "model",
    [
        lambda: VisionTransformer(**SMALL),
        lambda: VisionTransformer(**SMALL, global_pool="avg", fc_norm=False, qkv_bias=False),
        lambda: ResNet(BasicBlock, **RESNET),
        lambda: ResNet(Bottleneck, **RESNET),
    ],
    ids=["cls", "mean", "basic", "bottleneck"],
)
def test_transformers_opens_what_was_written(model: Callable[[], nn.Module], tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    written = to_transformers.write(of_timm(model()), tmp_path)
    assert written.found == written.tensors
    assert written.difference < 1e-4


def test_transformers_shows_pictures_as_the_card_says(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    card = Card(32, 0.8, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(to_transformers.shown_by(card)))
    processor = transformers.AutoImageProcessor.from_pretrained(str(tmp_path))
    picture = Image.linear_gradient("L").resize((57, 44)).convert("RGB")
    theirs = processor(picture, return_tensors="pt")["pixel_values"]
    ours = normalise(torch.tensor(show(picture, card))[None], card)
    assert theirs.shape == ours.shape
    assert float((theirs - ours).abs().max()) < 0.05  # they may resize by torchvision: a grey level or two


@pytest.mark.parametrize("count", [1, 3])
def test_onnxruntime_takes_any_number_of_images(make_run: MakeRun, tmp_path: Path, count: int) -> None:
    onnxruntime: Any = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    chosen = choose(str(make_run()))
    written = to_onnx.write(chosen, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    pooled, tokens = session.run(None, {"images": batch(16, count).numpy()})
    assert torch.allclose(torch.from_numpy(pooled), answer(chosen.backbone, batch(16, count)).pooled, atol=1e-3)
    assert tokens.shape == (count, 5, 32)
    assert written.found > written.tensors // 2
