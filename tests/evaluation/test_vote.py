"""The vote against numbers of the specification, a plain loop, and scikit-learn."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from sslcli.errors import RunError, UserError
from sslcli.evaluation.vote import knn, predictions, ranking, vote

Sets = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def clouds() -> Sets:
    """Clouds of 7 classes that overlap: training features and labels, test features and labels."""
    torch.manual_seed(0)
    labels = torch.randint(7, (260,))
    features = torch.randn(7, 12)[labels] * 0.5 + torch.randn(260, 12)
    return features[:200], labels[:200], features[200:], labels[200:]


def scores_by_loop(train: Tensor, labels: Tensor, query: Tensor, k: int, temperature: float) -> dict[int, float]:
    """sum over the k nearest of exp(cosine / T), class by class."""
    cosines = [float(torch.cosine_similarity(row, query, dim=0)) for row in train]
    scores: dict[int, float] = {}
    for position in sorted(range(len(train)), key=lambda position: -cosines[position])[:k]:
        label = int(labels[position])
        scores[label] = scores.get(label, 0.0) + math.exp(cosines[position] / temperature)
    return scores


def test_votes_are_the_numbers_of_the_specification() -> None:
    scores = vote(torch.tensor([[0.9, 0.8, 0.7]], dtype=torch.float64), torch.tensor([[0, 1, 1]]), 2, 0.07)
    assert scores[0].tolist() == pytest.approx([383518.39, 113937.05], rel=1e-7)
    assert ranking(scores).tolist() == [[0, 1]]


@pytest.mark.parametrize("k", [1, 3, 30, 200])
def test_accuracies_are_those_of_a_loop_written_from_the_equation(clouds: Sets, k: int) -> None:
    train, labels, test, truth = clouds
    rankings = []
    for query in test:
        scores = scores_by_loop(train, labels, query, k, 0.07)
        rankings.append(sorted(scores, key=lambda label: (-scores[label], label)))
    (result,) = knn(*clouds, ks=[k])
    assert result.top1 == np.mean([first[0] == label for first, label in zip(rankings, truth.tolist())])
    assert result.top5 == np.mean([label in first[:5] for first, label in zip(rankings, truth.tolist())])


@pytest.mark.parametrize("k", [1, 20, 150])
def test_predictions_are_those_of_scikit_learn_with_the_same_weights(clouds: Sets, k: int) -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    train, labels, test, _ = clouds

    def weights(distances: Any) -> Any:
        return np.exp((1.0 - distances) / 0.07)

    model = neighbors.KNeighborsClassifier(k, weights=weights, algorithm="brute", metric="cosine")
    expected = model.fit(train.double().numpy(), labels.numpy()).predict(test.double().numpy())
    ((_, predicted),) = predictions(train, labels, test, ks=[k])
    assert predicted[:, 0].tolist() == expected.tolist()


def test_one_search_for_several_ks_gives_what_one_for_each_gives(clouds: Sets) -> None:
    together = knn(*clouds, ks=[100, 5, 20])
    assert together == [knn(*clouds, ks=[k])[0] for k in (5, 20, 100)]


@pytest.mark.parametrize("temperature", [0.04, 0.05])
def test_separable_classes_are_all_right_for_every_k_up_to_the_size_of_a_class(temperature: float) -> None:
    torch.manual_seed(0)
    labels = torch.arange(4).repeat(210)
    features = normalize(one_hot(labels).float() + 0.1 * torch.rand(840, 4), dim=1)
    sets = (features[:800], labels[:800], features[800:], labels[800:])
    assert [result.top1 for result in knn(*sets, ks=[10, 20, 50, 100, 200], temperature=temperature)] == [1.0] * 5


def test_the_length_of_the_features_does_not_matter(clouds: Sets) -> None:
    train, labels, test, truth = clouds
    stretched = train * torch.linspace(0.1, 9.0, len(train))[:, None]
    assert knn(stretched, labels, 3.0 * test, truth) == knn(*clouds)


def test_a_temperature_near_zero_gives_the_class_of_the_nearest(clouds: Sets) -> None:
    (nearest,), (cold,) = knn(*clouds, ks=[1]), knn(*clouds, ks=[50], temperature=1e-4)
    assert cold.top1 == nearest.top1
    assert cold.top5 > cold.top1


def test_a_class_without_a_voting_neighbour_is_not_among_the_first_five() -> None:
    train, labels = torch.eye(4), torch.tensor([3, 1, 2, 0])
    (result,) = knn(train, labels, torch.tensor([[1.0, 0.1, 0.0, 0.0]]), torch.tensor([0]), ks=[2])
    assert (result.top1, result.top5) == (0.0, 0.0)


def test_of_classes_with_equal_votes_the_lower_number_wins() -> None:
    assert ranking(torch.tensor([[2.0, 3.0, 3.0, 0.0]])).tolist() == [[1, 2, 0, -1]]


def test_a_class_that_only_the_test_set_has_is_wrong_not_an_error() -> None:
    (result,) = knn(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.tensor([0, 5]), ks=[1], classes=6)
    assert result.top1 == 0.5


@pytest.mark.parametrize(("ks", "words"), [([5, 201], "k = 201 is more than the 200"), ([0], "at least 1"), ([], "at")])
def test_impossible_numbers_of_neighbours_are_refused(clouds: Sets, ks: list[int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        knn(*clouds, ks=ks)


def test_the_number_of_neighbours_that_is_hinted_at_is_a_possible_one(clouds: Sets) -> None:
    train, labels, test, wanted = clouds
    with pytest.raises(UserError) as refused:
        knn(train[:3], labels[:3], test, wanted, ks=[20])
    assert refused.value.hint == "give a k of at most 3, as in '--k 3'"


def test_features_that_are_not_finite_are_refused_with_their_number(clouds: Sets) -> None:
    train, labels, test, truth = clouds
    broken = train.clone()
    broken[3:5, 0] = math.nan
    with pytest.raises(RunError, match="2 of 200 training pictures"):
        knn(broken, labels, test, truth)
