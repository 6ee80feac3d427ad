"""What a RUN can be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.opening import begin, open_subject
from sslcli.nn.stored import CONFIG, WEIGHTS, save_backbone
from sslcli.recipe import load_recipe
from sslcli.training.runs import RECIPE

MakeRun = Callable[..., Path]
CARD = {"image_size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_share": 1.0, "pool": "auto"}
FACTS = {"recipe": "tiny", "step": 7, "network": "student"}


def output(encoder: nn.Module, size: int = 16) -> Tensor:
    """What an encoder says of fixed images."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: Tensor = encoder.eval()(images)
    return found


def test_a_saved_backbone_gives_the_features_of_the_one_that_was_saved(make_run: MakeRun) -> None:
    run = make_run()
    backbone = begin(load_recipe(run / RECIPE))
    save_backbone(run, backbone, {**CARD, **FACTS})
    for reference in (run, run / WEIGHTS):
        subject = open_subject(str(reference))
        assert torch.equal(output(subject.encoder), output_of(backbone))
        assert subject.card == Card(16, 1.0, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert subject.said == "the student at step 7 of tiny"


def test_an_exported_folder_is_its_backbone(make_run: MakeRun, tmp_path: Path) -> None:
    run, exported = make_run(), tmp_path / "exported"
    save_backbone(run, begin(load_recipe(run / RECIPE)), {**CARD, **FACTS})
    exported.mkdir()
    (exported / "model.safetensors").write_bytes((run / WEIGHTS).read_bytes())
    (exported / CONFIG).write_bytes((run / CONFIG).read_bytes())
    assert torch.equal(output(open_subject(str(exported)).encoder), output(open_subject(str(run)).encoder))


def output_of(backbone: Any) -> Tensor:
    """The pooled features of the fixed images."""
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: Tensor = backbone.eval().features(images).pooled
    return found


def test_a_run_without_a_saved_backbone_is_its_newest_whole_checkpoint(make_run: MakeRun) -> None:
    run, notes = make_run(steps=(1, 2, 3)), []
    (run / "checkpoints" / "step-00000003" / "model.safetensors").write_bytes(b"damaged")
    subject = open_subject(str(run), note=notes.append)
    second = open_subject(str(run / "checkpoints" / "step-00000002"))
    assert torch.equal(output(subject.encoder), output(second.encoder))
    assert "step-00000002" in subject.said
    assert "step-00000003" in notes[0]


def test_checkpoints_of_different_steps_are_different(make_run: MakeRun) -> None:
    run = make_run(steps=(1, 2))
    first, second = (open_subject(str(run / "checkpoints" / f"step-0000000{step}")) for step in (1, 2))
    assert not torch.equal(output(first.encoder), output(second.encoder))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(("export", "network"), [(False, "student"), (True, "teacher")])
def test_of_student_and_teacher_the_one_that_is_exported_is_judged(
    make_run: MakeRun, export: bool, network: str
) -> None:
    run = make_run(teacher={"export": export}, loss=[{"name": "moco_v3"}])
    assert open_subject(str(run)).said.startswith(f"the {network} at")


def test_a_random_start_is_the_one_that_the_run_began_with(make_run: MakeRun) -> None:
    run = make_run()
    subject = open_subject(f"random:{run}")
    assert torch.equal(output(subject.encoder), output_of(begin(load_recipe(run / RECIPE))))
    assert torch.equal(output(subject.encoder), output(open_subject(f"random:{run / RECIPE}").encoder))


def test_pooling_is_that_of_the_recipe_unless_another_is_asked_for(make_run: MakeRun) -> None:
    run = make_run(evaluation={"pool": "mean"})
    said, asked, cls = open_subject(str(run)), open_subject(str(run), "mean"), open_subject(str(run), "cls")
    assert torch.equal(output(said.encoder), output(asked.encoder))
    assert not torch.equal(output(said.encoder), output(cls.encoder))


def test_a_timm_model_has_its_trained_weights_and_is_shown_pictures_as_it_was_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = timm.create_model
    trained = original("resnet10t", num_classes=0)
    answers = {True: trained, False: original("resnet10t", num_classes=0)}
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **_: answers[pretrained])
    subject = open_subject("timm:resnet10t")
    shown = timm.data.resolve_model_data_config(trained)
    assert (subject.card.image_size, subject.card.crop_share) == (shown["input_size"][-1], shown["crop_pct"])
    assert torch.equal(output(subject.encoder, 64), output(trained, 64))


def test_pretrained_weights_that_cannot_be_had_are_said_so_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match="couldn't connect") as caught:
        open_subject("timm:resnet10t")
    assert "network" in caught.value.hint


@pytest.mark.parametrize(
    ("run", "message", "hint"),
    [
        ("pixel", "there is no pixel", "did you mean 'pixels'?"),
        ("tim:resnet50", "no such form of a RUN: tim:", "did you mean 'timm'?"),
        ("timm:resnet_50", "timm has no model 'resnet_50'", "resnet"),
        ("timm:", "nothing follows the colon in 'timm:'", "timm:NAME"),
        ("random:", "nothing follows the colon in 'random:'", "random:RECIPE"),
        ("random:nothing/here", "nothing/here", ""),
        (__file__, "is no backbone", "RUN is a run"),
    ],
)
def test_a_run_that_is_nothing_we_know_is_refused(run: str, message: str, hint: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        open_subject(run)
    assert hint in caught.value.hint


def test_a_misspelt_folder_is_answered_with_its_neighbour(make_run: MakeRun) -> None:
    run = make_run()
    with pytest.raises(UserError) as caught:
        open_subject(str(run.with_name("rum")))
    assert str(run) in caught.value.hint


def test_a_folder_without_a_backbone_is_refused_with_the_files_that_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither backbone\.safetensors with config\.json, nor recipe\.toml"):
        open_subject(str(tmp_path))


def test_a_run_that_has_saved_nothing_yet_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="nor a whole checkpoint yet"):
        open_subject(str(make_run(steps=())))


def test_weights_that_do_not_fit_their_config_are_refused(make_run: MakeRun) -> None:
    run = make_run()
    save_backbone(run, begin(load_recipe(run / RECIPE)), {**CARD, **FACTS})
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace('"depth": 2', '"depth": 3'))
    with pytest.raises(UserError, match="does not fit its own description"):
        open_subject(str(run))


def test_an_export_that_cannot_be_built_here_is_refused_with_what_it_was_made_from(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "export.json").write_text('{"to": "safetensors", "run": "runs/mine"}')
    for reference in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(UserError, match="is an export to safetensors") as caught:
            open_subject(str(reference))
        assert "name what it was made from, runs/mine" in caught.value.hint


def test_a_classifier_of_timm_is_refused_with_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "config.json").write_text('{"architecture": "resnet10t", "model_args": {"num_classes": 3}}')
    with pytest.raises(UserError, match="is a network of timm with its head") as caught:
        open_subject(str(tmp_path))
    assert "name the run that it was made from" in caught.value.hint
