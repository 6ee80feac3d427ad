"""From a RUN and labelled pictures to features, made once."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sslcli.errors import Interrupted, RunError, Unwritable, UserError
from sslcli.evaluation.blocks import Blocks
from sslcli.evaluation.features import Table
from sslcli.evaluation.opening import open_subject
from sslcli.evaluation.trial import Sets, Trial, sets_of

MakeRun = Callable[..., Path]


def test_the_two_parts_come_with_features_labels_and_positions(picture_folder: Path) -> None:
    train, test = Trial("pixels", (Sets(str(picture_folder)),)).labelled()
    assert (train.features.shape, test.features.shape) == ((20, 3072), (4, 3072))
    assert train.labels.tolist() == [0] * 10 + [1] * 10
    assert test.positions.tolist() == [0, 1, 2, 3]


def test_pixels_are_centred_on_the_training_set_only(picture_folder: Path) -> None:
    train, test = Trial("pixels", (Sets(str(picture_folder)),)).labelled()
    assert train.features.mean(dim=0).abs().max() < 1e-6
    assert test.features.mean(dim=0).abs().max() > 1e-3


def test_features_are_as_they_are_where_nothing_is_to_be_centred(picture_folder: Path) -> None:
    train, _ = Trial("pixels", (Sets(str(picture_folder)),)).labelled(centred=False)
    assert train.features.min() >= 0


def test_a_run_is_judged_on_what_it_was_probed_on_when_nothing_is_said(make_run: MakeRun, picture_folder: Path) -> None:
    trial = Trial(str(make_run(data={"train": "elsewhere"}, probe={"data": str(picture_folder)})))
    assert (len(trial.judged.train), len(trial.judged.test)) == (20, 4)
    assert str(picture_folder) in trial.judged.said


def test_without_a_probe_it_is_judged_on_what_it_was_trained_on() -> None:
    assert sets_of({"data": {"train": "demo"}}) == Sets("demo")
    assert sets_of({"data": {"train": "demo"}, "probe": {"train": "a", "test": "b"}}) == Sets("", "a", "b")


def test_what_has_no_recipe_needs_labelled_pictures_named() -> None:
    with pytest.raises(UserError, match="what to judge on is not said"):
        Trial("pixels").labelled()


def test_a_trial_of_several_sets_is_one_trial_for_each_of_one_subject(make_run: MakeRun, picture_folder: Path) -> None:
    trial = Trial(str(make_run()), (Sets(str(picture_folder)), Sets("demo")))
    assert [each.sets for each in trial.each()] == [(Sets(str(picture_folder)),), (Sets("demo"),)]
    assert all(each.subject is trial.subject for each in trial.each())


def test_pixels_have_no_backbone(picture_folder: Path) -> None:
    with pytest.raises(UserError, match="pixels has no backbone"):
        _ = Trial("pixels").backbone


def test_only_a_run_has_a_folder(make_run: MakeRun) -> None:
    run = make_run()
    assert Trial(str(run)).folder == run
    assert Trial("pixels").folder is None


def test_kept_features_are_used_again_and_damaged_ones_made_again(picture_folder: Path, own_cache: Path) -> None:
    def judge() -> tuple[list[float], str]:
        notes: list[str] = []
        train, _ = Trial("pixels", (Sets(str(picture_folder)),), note=notes.append).labelled()
        return train.features.sum(dim=1).tolist(), notes[0]

    first, said = judge()
    assert said == "features: 0 of 2 parts are in the cache"
    assert judge() == (first, "features: 2 of 2 parts are in the cache")
    next(own_cache.glob("*/features.npy")).unlink()
    assert judge() == (first, "features: 1 of 2 parts are in the cache")
    assert judge() == (first, "features: 2 of 2 parts are in the cache")


def test_features_of_two_encoders_are_kept_apart(picture_folder: Path) -> None:
    trial = Trial("pixels", (Sets(str(picture_folder)),))
    source, halved = trial.judged.test, nn.AvgPool2d(2)
    assert trial.features(source, nn.Identity(), "whole").features.shape == (4, 3072)
    assert trial.features(source, halved, "halved").features.shape == (4, 768)
    again = trial.features(source, nn.Identity(), "halved")  # the name is what tells
    torch.testing.assert_close(again.features, trial.features(source, halved, "halved").features)


def test_nothing_is_kept_when_it_is_not_wanted(picture_folder: Path, own_cache: Path) -> None:
    Trial("pixels", (Sets(str(picture_folder)),), cache=False).labelled()
    assert not own_cache.exists()


def test_too_many_broken_pictures_stop_the_judging(picture_folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(picture_folder.rglob("*.png"))):
        folder = tmp_path / "broken" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes()[:60] if number % 3 == 0 else path.read_bytes())
    sets = (Sets(str(tmp_path / "broken")),)
    with pytest.raises(RunError, match="2 of 24 pictures cannot be read"):
        Trial("pixels", sets).labelled()
    train, test = Trial("pixels", sets, broken_limit=0.5).labelled()
    assert len(train.labels) + len(test.labels) == 16


def test_a_part_of_which_no_picture_can_be_read_is_refused_whatever_the_limit(
    picture_folder: Path, tmp_path: Path
) -> None:
    copied = shutil.copytree(picture_folder, tmp_path / "pictures")
    trial = Trial("pixels", (Sets(str(copied)),), broken_limit=1.0)
    for number in range(len(trial.judged.test)):
        Path(trial.judged.test.name(number)).write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"no picture of .* can be read"):
        trial.labelled()


def test_a_cache_that_takes_nothing_costs_a_note(
    picture_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    own_cache.parent.mkdir()
    own_cache.mkdir()
    write = Blocks.write

    def full(blocks: Blocks, block: int, table: Table) -> None:
        if blocks.folder.is_relative_to(own_cache):
            raise Unwritable("No space left on device")
        write(blocks, block, table)

    monkeypatch.setattr(Blocks, "write", full)
    train, test = Trial("pixels", (Sets(str(picture_folder)),), note=notes.append).labelled()
    assert (len(train.labels), len(test.labels)) == (20, 4)
    assert "warning: the features could not be kept: No space left on device" in notes


def test_an_interruption_says_that_the_features_made_so_far_are_kept(
    picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sslcli.evaluation.trial.fill", stop)
    with pytest.raises(Interrupted, match="the features made so far are kept"):
        Trial("pixels", (Sets(str(picture_folder)),)).labelled()


@pytest.mark.slow
def test_processes_make_the_features_of_other_encoders_too(
    make_run: MakeRun, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    trial = Trial(str(make_run()), (Sets(str(picture_folder)),), processes=2, cache=False, note=notes.append)
    with monkeypatch.context() as patch:
        patch.setattr("sslcli.evaluation.kept.BLOCK", 8)
        found = trial.features(trial.judged.train, trial.subject.encoder, "again")
    assert "extracting features of 20 pictures by 2 processes" in notes
    torch.testing.assert_close(found.features, trial.tables([trial.judged.train])[0].features)


def test_an_error_keeps_its_hint_on_the_way_from_a_process() -> None:
    with pytest.raises(UserError) as caught:
        open_subject("nowhere")
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert (arrived.message, arrived.hint) == (caught.value.message, caught.value.hint)
    assert "pixels" in arrived.hint
