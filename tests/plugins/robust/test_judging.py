"""`sslcli eval robust` on small pictures."""

import json

import numpy as np
import pytest
import torch
from sslcli_robust.evaluations.corrupted import Corrupted, whole
from sslcli_robust.evaluations.robust import judge, rows
from sslcli_robust.options import RobustOptions

from sslcli.cli import run
from sslcli.data.sources import open_source
from sslcli.evaluation.card import Card, show
from sslcli.evaluation.features import extract
from sslcli.evaluation.trial import Sets, Trial
from sslcli.evaluation.vote import knn_right

CARD = Card(24, 0.75)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


def few(**options):
    return RobustOptions(**{"corruptions": ("contrast", "fog"), "severities": (1, 5), "k": 3, **options})


def corrupted(folder, severity=2, seed=0, name="gaussian_noise"):
    return Corrupted(open_source(str(folder)), CARD, name, severity, seed)


def test_a_corrupted_picture_is_cut_as_the_backbone_sees_it(picture_folder):
    source = corrupted(picture_folder)
    assert source.image(0).size == (24, 24)
    assert np.array_equal(show(source.image(0), whole(CARD)), np.asarray(source.image(0)))


def test_a_picture_is_corrupted_the_same_way_every_time_and_its_neighbour_another_way(picture_folder):
    source = corrupted(picture_folder)
    noise = [np.asarray(source.image(index), int) - show(source.source.image(index), CARD) for index in (0, 0, 1)]
    assert np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0], noise[2])


def test_the_fingerprint_tells_corruption_severity_seed_and_card_apart(picture_folder):
    sources = [corrupted(picture_folder), *(corrupted(picture_folder, **other) for other in OTHERS)]
    wider = Corrupted(open_source(str(picture_folder)), Card(32), "gaussian_noise", 2, 0)
    prints = [source.fingerprint for source in (*sources, wider)]
    assert len(set(prints)) == len(prints)


OTHERS = ({"severity": 3}, {"seed": 1}, {"name": "fog"})


def test_rows_are_means_over_severities_and_corruptions():
    clean = torch.tensor([1, 1, 1, 0, 1], dtype=torch.bool)
    right = {
        ("a", 1): torch.tensor([1, 1, 1, 0, 0], dtype=torch.bool),
        ("a", 5): torch.tensor([1, 0, 0, 0, 0], dtype=torch.bool),
        ("b", 1): torch.tensor([1, 1, 1, 0, 1], dtype=torch.bool),
        ("b", 5): torch.tensor([0, 0, 0, 0, 0], dtype=torch.bool),
    }
    none, all_, a, b = rows(clean, right, ["a", "b"], [1, 5], seed=0)
    assert none["accuracy"] == 0.8
    assert (a["accuracy"], b["accuracy"], all_["accuracy"]) == pytest.approx((0.4, 0.4, 0.4))
    assert (all_["severity_1"], all_["severity_5"]) == pytest.approx((0.7, 0.1))
    assert a["drop"] == pytest.approx(0.5)
    assert a["accuracy_interval"][0] <= 0.4 <= a["accuracy_interval"][1]


@pytest.mark.parametrize("method", ["knn", "linear"])
def test_a_report_has_clean_pictures_all_corruptions_and_each(picture_folder, method):
    report = judge(few(method=method), Trial("pixels", (Sets(str(picture_folder)),)))
    assert [row["corruption"] for row in report.results] == ["none", "all", "fog", "contrast"]
    assert all(0 <= row["accuracy"] <= 1 for row in report.results)


def test_what_is_told_are_the_pictures_of_that_corruption_and_severity(picture_folder):
    trial = Trial("pixels", (Sets(train=str(picture_folder), test=str(picture_folder)),))
    report = judge(few(corruptions=("gaussian_noise", "fog"), severities=(1, 5), k=1), trial)
    train, _ = trial.labelled(centred=False)
    mean, accuracies = train.features.mean(dim=0), []
    for name in ("gaussian_noise", "fog"):
        for severity in (1, 5):
            source = Corrupted(trial.judged.test, trial.card, name, severity, 0)
            found = extract(trial.subject.encoder, source, whole(trial.card)).features
            vectors = (train.features - mean, train.labels, found - mean, train.labels)
            accuracies.append(knn_right(*vectors, k=1).double().mean().item())
    rows_of_each = report.results[2:]
    assert [row[f"severity_{severity}"] for row in rows_of_each for severity in (1, 5)] == pytest.approx(accuracies)
    assert len({report.results[0]["accuracy"], *accuracies}) > 2  # so one is not taken for another


def test_clean_accuracy_is_that_of_the_evaluation_knn(picture_folder, capsys):
    common = ["pixels", "--data", str(picture_folder), "--k", "5", "--json"]
    assert run(["eval", "knn", *common]) == 0
    knn = json.loads(capsys.readouterr().out)["results"][0]["top1"]
    assert run(["eval", "robust", *common, "--corruptions", "fog", "--severities", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["accuracy"] == knn


def test_features_of_corrupted_pictures_are_made_once(picture_folder, monkeypatch):
    trial = Trial("pixels", (Sets(str(picture_folder)),))
    first = judge(few(), trial)
    monkeypatch.setattr(Corrupted, "image", None)  # whoever asks for a picture again fails
    assert judge(few(), trial).results == first.results


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corruptions", "fogg"], "no corruption is called 'fogg'"),
        (["--severities", "6"], "--severities 6"),
        (["--k", "1000"], "k = 1000 is more than the 20 training pictures"),
    ],
)
def test_mistakes_are_told(picture_folder, arguments, message, capsys):
    assert run(["eval", "robust", "pixels", "--data", str(picture_folder), *arguments]) == 2
    assert message in capsys.readouterr().err
