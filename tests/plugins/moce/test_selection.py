"""The votes of a task's pictures, by hand."""

import pytest
import torch
from sslcli_moce.selection import Ballot, choose, count_votes, doubts

from sslcli.errors import UserError


def ballot(counts, paths):
    return Ballot(torch.tensor(counts), [path if isinstance(path, tuple) else (path,) for path in paths])


def test_the_largest_cluster_and_the_heaviest_experts_may_differ():
    votes = ballot([40, 35, 25], [1, 2, 2])
    largest, heaviest = choose(votes, "largest"), choose(votes, "heaviest")
    assert (largest.experts, largest.cluster) == ((1,), 0)
    assert (heaviest.experts, heaviest.cluster) == ((2,), 1)
    assert (largest.share, largest.margin) == (pytest.approx(0.4), pytest.approx(-0.2))
    assert (heaviest.share, heaviest.margin) == (pytest.approx(0.6), pytest.approx(0.2))


def test_both_votes_agree_when_all_pictures_are_of_one_cluster():
    votes = ballot([0, 60, 0], [1, 2, 2])
    for choice in (choose(votes, "largest"), choose(votes, "heaviest")):
        assert (choice.experts, choice.cluster, choice.share, choice.stability) == ((2,), 1, 1.0, 1.0)
        assert choice.second is None


def test_votes_are_counted_by_cluster_by_path_and_by_expert_of_every_layer_the_most_first():
    votes = ballot([10, 0, 30, 20, 25], [(0, 1), (9, 9), (0, 2), (3, 1), (0, 1)])
    assert list(votes.by_cluster.items()) == [(2, 30), (4, 25), (3, 20), (0, 10)]
    assert list(votes.by_path.items()) == [((0, 1), 35), ((0, 2), 30), ((3, 1), 20)]
    assert [list(layer.items()) for layer in votes.by_layer] == [[(0, 65), (3, 20)], [(1, 55), (2, 30)]]


def test_the_same_experts_in_one_layer_are_no_common_path():
    assert choose(ballot([40, 35, 30], [(1, 1), (2, 1), (2, 2)]), "heaviest").experts == (1, 1)


def test_equal_votes_go_to_the_lowest_number_and_that_is_said():
    votes = ballot([20, 30, 30, 10], [5, 4, 3, 4])
    choice = choose(votes, "largest")
    assert (choice.cluster, choice.experts) == (1, (4,))
    assert choice.ties == ("clusters 1 and 2 have equally many votes: the lowest number was taken",)
    votes = ballot([20, 20, 40], [5, 5, 3])
    choice = choose(votes, "heaviest")
    assert (choice.cluster, choice.experts) == (2, (3,))
    assert choice.ties == ("experts 3 and 5 have equally many votes: the lowest number was taken",)


def test_pictures_of_one_kind_may_all_be_of_one_cluster():
    features = torch.tensor([[3.0, 0.1], [5.0, -0.2], [0.1, 0.0]])
    counts, cosine = count_votes(features, torch.eye(2))
    assert counts.tolist() == [3, 0]
    assert cosine == pytest.approx(float(torch.nn.functional.normalize(features, dim=1)[:, 0].mean()))


def test_counting_in_blocks_changes_nothing(monkeypatch):
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    whole = count_votes(features, torch.eye(3))
    monkeypatch.setattr("sslcli_moce.selection.BLOCK", 7)
    counts, cosine = count_votes(features, torch.eye(3))
    assert counts.tolist() == whole[0].tolist()
    assert cosine == pytest.approx(whole[1])


def test_no_picture_is_no_vote():
    with pytest.raises(UserError, match="no picture"):
        count_votes(torch.empty(0, 2), torch.eye(2))


@pytest.mark.parametrize("vote", ["largest", "heaviest"])
def test_resamples_tell_how_sure_a_choice_is_and_are_seeded(vote):
    close, clear = ballot([51, 49], [0, 1]), ballot([80, 20], [0, 1])
    assert 0.5 < choose(close, vote).stability < 0.7  # P(Binomial(100, .51) >= 50) = .618
    assert choose(clear, vote).stability == 1.0
    assert choose(close, vote, seed=3) == choose(close, vote, seed=3)


def test_a_clear_choice_raises_no_doubt():
    votes = ballot([80, 20], [0, 1])
    assert doubts(votes, choose(votes), 0.9, 0.9) == ()


@pytest.mark.parametrize(
    ("counts", "paths", "cosine", "said"),
    [
        ([12, 0], [0, 1], 0.9, "only 12 pictures vote"),
        ([40, 35, 25], [1, 2, 2], 0.9, "the experts 2 have more votes in all: see --vote heaviest"),
        ([40, 30, 30], [0, 1, 2], 0.9, "only 40% of the pictures ask for these experts"),
        ([52, 48], [0, 1], 0.9, "resamples of the pictures"),
        ([90, 10], [0, 1], 0.79, "far from all clusters: mean cosine 0.790, of those clustered 0.900"),
    ],
)
def test_what_makes_a_choice_weak_is_said_in_words(counts, paths, cosine, said):
    votes = ballot(counts, paths)
    assert any(said in doubt for doubt in doubts(votes, choose(votes), cosine, 0.9))


def test_pictures_cannot_be_called_far_when_the_usual_cosine_is_not_known():
    votes = ballot([90, 10], [0, 1])
    assert doubts(votes, choose(votes), 0.1) == ()
