"""`sslcli eval retrieval`: rankings judged as scikit-learn and plain loops judge them."""

import pytest
import torch
from sklearn.metrics import average_precision_score
from sslcli_frozen.evaluations import retrieval
from sslcli_frozen.evaluations.retrieval import judge, rank, scores
from sslcli_frozen.options import RetrievalOptions
from torch.nn.functional import normalize

from sslcli.errors import UserError
from sslcli.evaluation.trial import Labelled, Sets, Trial


def labelled(features, labels):
    return Labelled(features, labels, torch.arange(len(labels)))


@pytest.fixture
def pictures(clouds):
    return labelled(*clouds(40, 0)), labelled(*clouds(12, 1))


def test_average_precision_is_that_of_scikit_learn(pictures):
    gallery, queries = pictures
    cosines = normalize(queries.features, dim=1) @ normalize(gallery.features, dim=1).T
    right = queries.labels[:, None] == gallery.labels
    expected = [average_precision_score(truth, cosine) for truth, cosine in zip(right, cosines)]
    torch.testing.assert_close(rank(gallery, queries).average_precision, torch.tensor(expected, dtype=torch.float64))


def test_the_scores_of_a_ranking_by_hand():
    average, at_r, first = scores(torch.tensor([[False, True, False, True, False], [True, True, False, False, False]]))
    assert average.tolist() == pytest.approx([(1 / 2 + 2 / 4) / 2, 1.0])
    assert at_r.tolist() == pytest.approx([(1 / 2) / 2, 1.0])
    assert first.tolist() == [2, 1]


def test_blocks_change_nothing(pictures, monkeypatch):
    whole = rank(*pictures)
    monkeypatch.setattr(retrieval, "CELLS", 40 * 5)
    for one, other in zip(vars(whole).values(), vars(rank(*pictures)).values()):
        torch.testing.assert_close(one, other)


def test_among_the_same_pictures_each_leaves_itself_out(pictures, monkeypatch):
    gallery, _ = pictures
    monkeypatch.setattr(retrieval, "CELLS", 40 * 7)  # several blocks
    found = rank(gallery, gallery, alike=True)
    for number in range(40):
        others = torch.arange(40) != number
        rest = labelled(gallery.features[others], gallery.labels[others])
        single = rank(rest, labelled(gallery.features[number : number + 1], gallery.labels[number : number + 1]))
        assert found.average_precision[number].item() == pytest.approx(single.average_precision.item())
        assert found.first[number] == single.first[0]


def test_pictures_with_nothing_to_be_found_are_left_out(clouds):
    features, labels = clouds(8, 0)
    labels[0] = 9  # alone in its class
    found = rank(labelled(features, labels), labelled(features, labels), alike=True)
    assert len(found.first) == 6  # and so is the other of class 0


def test_the_report_has_a_row_of_shares_with_intervals(make_trial):
    report = judge(RetrievalOptions(recalls=(10, 1)), make_trial())
    (row,) = report.results
    names = [name for name in row if not name.endswith("_interval")]
    assert names == ["map", "map_at_r", "recall_at_1", "recall_at_10"] == list(report.shares)
    assert all(row[f"{name}_interval"][0] <= row[name] <= row[f"{name}_interval"][1] for name in names)


def test_the_test_pictures_rank_each_other_when_asked(make_trial):
    report = judge(RetrievalOptions(among="test"), make_trial("pixels"))
    assert report.facts["ranked"] == "3 pictures for each of 4 test pictures, by cosine"


def test_where_nothing_can_be_found_it_says_so(picture_folder, tmp_path):
    for shape in ("ellipse", "rectangle"):
        (tmp_path / "one" / shape).mkdir(parents=True)
        path = sorted((picture_folder / shape).iterdir())[0]
        (tmp_path / "one" / shape / path.name).write_bytes(path.read_bytes())
    trial = Trial("pixels", (Sets(train=str(picture_folder), test=str(tmp_path / "one")),))
    with pytest.raises(UserError, match="no test picture has another of its class"):
        judge(RetrievalOptions(among="test"), trial)
