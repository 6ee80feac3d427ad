"""The evaluation `knn` of the plugin `frozen`; the others have files of their own in `frozen/`."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sslcli_frozen import sslcli_evaluations
from sslcli_frozen.evaluations.knn import judge
from sslcli_frozen.options import KnnOptions

from sslcli.errors import UserError
from sslcli.evaluation.trial import Sets, Trial


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def trial(picture_folder: Path) -> Trial:
    return Trial("pixels", (Sets(str(picture_folder)),))


def test_four_evaluations_are_offered() -> None:
    assert [offer.name for offer in sslcli_evaluations()] == ["knn", "linear", "retrieval", "cluster"]


@pytest.mark.slow
def test_raw_pixels_on_the_demo_set_give_what_its_authors_measured() -> None:
    report = judge(KnnOptions(k=(20,)), Trial("pixels", (Sets("demo"),)))
    assert [report.facts[name] for name in ("train", "test", "width", "classes")] == [2713, 961, 3072, 22]
    assert round(report.results[0]["top1"], 3) == 0.417


def test_the_vote_is_that_of_scikit_learn(trial: Trial) -> None:
    train, test = trial.labelled()
    vote = KNeighborsClassifier(7, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.07))
    vote.fit(train.features.numpy(), train.labels.numpy())
    expected = vote.score(test.features.numpy(), test.labels.numpy())
    assert judge(KnnOptions(k=(7,)), trial).results[0]["top1"] == pytest.approx(expected)


def test_usual_ks_are_those_that_the_set_allows_and_others_are_refused(trial: Trial) -> None:
    assert [result["k"] for result in judge(KnnOptions(), trial).results] == [10, 20]
    with pytest.raises(UserError, match="k = 100 is more than the 20 training pictures"):
        judge(KnnOptions(k=(5, 100)), trial)
