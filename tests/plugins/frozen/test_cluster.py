"""`sslcli eval cluster`: k-means, and clusters compared with classes."""

from itertools import permutations

import numpy as np
import pytest
from sslcli_frozen.evaluations.cluster import accuracy, judge, measured, summary
from sslcli_frozen.options import ClusterOptions

from sslcli.errors import UserError


def test_clusters_that_are_the_classes_by_other_names_are_right():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert measured(labels, np.array([2, 2, 0, 0, 1, 1])) == pytest.approx({"nmi": 1.0, "ari": 1.0, "accuracy": 1.0})


def test_the_assignment_is_the_best_of_all():
    rng = np.random.default_rng(0)
    labels, clusters = rng.integers(4, size=60), rng.integers(4, size=60)
    best = max(float(np.mean(np.array(names)[clusters] == labels)) for names in permutations(range(4)))
    assert accuracy(labels, clusters) == pytest.approx(best)


def test_clusters_beyond_the_classes_stand_for_none():
    assert accuracy(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 2, 1, 1])) == pytest.approx(4 / 5)


def test_the_interval_holds_the_value_and_widens_with_the_seeds():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 40)
    noisy = np.where(rng.random(200) < 0.3, rng.integers(5, size=200), labels)
    alike, apart = summary(labels, [noisy, noisy], 0), summary(labels, [noisy, labels], 0)
    for name in ("nmi", "ari", "accuracy"):
        low, high = alike[f"{name}_interval"]
        assert low < alike[name] < high
        assert np.ptp(apart[f"{name}_interval"]) > high - low
    assert summary(labels, [noisy, noisy], 0) == alike


def test_the_report_tells_of_every_seed(make_trial):
    report = judge(ClusterOptions(part="train", seeds=2, restarts=1, seed=5), make_trial())
    (row,) = report.results
    assert row["k"] == 2
    singles = report.document()["by_seed"]
    assert [single["seed"] for single in singles] == [5, 6]
    assert row["nmi"] == pytest.approx(np.mean([single["nmi"] for single in singles]))


def test_more_clusters_than_pictures_are_refused(make_trial):
    with pytest.raises(UserError, match="9 clusters are more than the 4 pictures"):
        judge(ClusterOptions(k=9), make_trial("pixels"))


def test_an_interval_ends_where_no_measure_can_go_further() -> None:
    rng = np.random.default_rng(0)
    row = summary(rng.integers(3, size=36), [rng.integers(3, size=36) for _ in range(5)], seed=0)
    assert row["nmi_interval"][0] == 0.0
    assert -0.5 <= row["ari_interval"][0] < 0.0
