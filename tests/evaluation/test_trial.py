"""From a RUN and labelled pictures to accuracies."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslcli.data.sources import open_source
from sslcli.errors import RunError, UserError
from sslcli.evaluation import judging
from sslcli.evaluation.features import extract
from sslcli.evaluation.judging import KnnOptions, Sets, judge_knn, sets_of
from sslcli.evaluation.opening import open_subject
from sslcli.evaluation.spread import extract_in_processes

MakeRun = Callable[..., Path]


@pytest.mark.slow
def test_raw_pixels_on_the_demo_set_give_what_its_authors_measured() -> None:
    report = judge_knn("pixels", Sets("demo"), KnnOptions((20,)))
    assert (report.train, report.test, report.width, report.classes) == (2713, 961, 3072, 22)
    assert round(report.results[0].top1, 3) == 0.417


def test_pixels_are_centred_on_the_training_set_only(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(judging, "knn", lambda *features, **_: seen.extend(features) or [])
    judge_knn("pixels", Sets(str(picture_folder)), KnnOptions((5,)))
    assert seen[0].mean(dim=0).abs().max() < 1e-6
    assert seen[2].mean(dim=0).abs().max() > 1e-3


def test_a_run_is_judged_on_what_it_was_probed_on_when_nothing_is_said(make_run: MakeRun, picture_folder: Path) -> None:
    report = judge_knn(str(make_run(data={"train": "elsewhere"}, probe={"data": str(picture_folder)})))
    assert (report.train, report.test) == (20, 4)
    assert str(picture_folder) in report.data


def test_without_a_probe_it_is_judged_on_what_it_was_trained_on() -> None:
    assert sets_of({"data": {"train": "demo"}}) == Sets("demo")
    assert sets_of({"data": {"train": "demo"}, "probe": {"train": "a", "test": "b"}}) == Sets("", "a", "b")


def test_what_has_no_recipe_needs_labelled_pictures_named() -> None:
    with pytest.raises(UserError, match="what to judge on is not said"):
        judge_knn("pixels")


def test_usual_ks_are_those_that_the_set_allows_and_others_are_refused(picture_folder: Path) -> None:
    sets = Sets(str(picture_folder))
    assert [result.k for result in judge_knn("pixels", sets).results] == [10, 20]
    with pytest.raises(UserError, match="k = 100 is more than the 20 training pictures"):
        judge_knn("pixels", sets, KnnOptions((5, 100)))


def test_a_temperature_of_zero_is_refused(picture_folder: Path) -> None:
    with pytest.raises(UserError, match="above 0"):
        judge_knn("pixels", Sets(str(picture_folder)), KnnOptions(temperature=0.0))


def test_kept_features_are_used_again_and_damaged_ones_made_again(picture_folder: Path, own_cache: Path) -> None:
    def judge() -> tuple[object, str]:
        notes: list[str] = []
        report = judge_knn("pixels", Sets(str(picture_folder)), note=notes.append)
        return report, notes[0]

    first, said = judge()
    assert said == "features: 0 of 2 parts are in the cache"
    assert judge() == (first, "features: 2 of 2 parts are in the cache")
    next(own_cache.glob("*.safetensors")).write_bytes(b"damaged")
    assert judge() == (first, "features: 1 of 2 parts are in the cache")
    assert judge() == (first, "features: 2 of 2 parts are in the cache")


def test_nothing_is_kept_when_it_is_not_wanted(picture_folder: Path, own_cache: Path) -> None:
    judge_knn("pixels", Sets(str(picture_folder)), KnnOptions(cache=False))
    assert not own_cache.exists()


def test_too_many_broken_pictures_stop_the_judging(picture_folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(picture_folder.rglob("*.png"))):
        folder = tmp_path / "broken" / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes()[:60] if number % 3 == 0 else path.read_bytes())
    with pytest.raises(RunError, match="2 of 24 pictures cannot be read"):
        judge_knn("pixels", Sets(str(tmp_path / "broken")))
    report = judge_knn("pixels", Sets(str(tmp_path / "broken")), KnnOptions(broken_limit=0.5))
    assert report.train + report.test == 16


@pytest.mark.slow
def test_two_processes_extract_what_one_does(make_run: MakeRun, picture_folder: Path) -> None:
    run, source = str(make_run()), open_source(str(picture_folder))
    subject = open_subject(run)
    alone = extract(subject.encoder, source, subject.card)
    (spread,) = extract_in_processes(run, "auto", [source], processes=2)
    assert torch.equal(spread.positions, alone.positions)
    torch.testing.assert_close(spread.features, alone.features)


def test_an_error_keeps_its_hint_on_the_way_from_a_process() -> None:
    with pytest.raises(UserError) as caught:
        open_subject("nowhere")
    arrived = pickle.loads(pickle.dumps(caught.value))
    assert (arrived.message, arrived.hint) == (caught.value.message, caught.value.hint)
    assert "pixels" in arrived.hint
