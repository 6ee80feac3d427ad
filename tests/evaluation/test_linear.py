"""The linear classifier against scikit-learn used by hand; what it chooses, and what it refuses."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from sslcli.errors import RunError
from sslcli.evaluation.linear import best_c, linear, standardised
from sslcli.evaluation.vote import knn, knn_right

Sets = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def clouds() -> Sets:
    """Clouds of 5 classes that overlap: training features and labels, test features and labels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (260,), generator=generator)
    features = torch.randn(5, 12, generator=generator)[labels] * 0.7 + torch.randn(260, 12, generator=generator)
    features = features * torch.logspace(-2, 2, 12) + 7  # of all scales: it is the classifier's business
    return features[:200], labels[:200], features[200:], labels[200:]


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_predictions_are_those_of_scikit_learn_by_hand(clouds: Sets, c: float) -> None:
    train, labels, test, truth = (part.double().numpy() for part in clouds)
    by_hand = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)).fit(train, labels)
    found = linear(*clouds, cs=[c])
    assert found.right.tolist() == (by_hand.predict(test) == truth).tolist()
    assert found.top1 == by_hand.score(test, truth) > 0.4


def test_the_penalty_is_chosen_on_a_part_held_out_of_training() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(100) % 2
    noise = rng.standard_normal((100, 60))
    noise[:, 0] += labels  # one column of sixty tells something: a weak penalty learns the others by heart
    assert best_c(noise, labels, (1e-3, 1e3), seed=0) == 1e-3
    assert best_c(labels[:, None] * 1.0, labels, (1e-3, 1e3), seed=0) == 1e-3  # equals: the strongest penalty


def test_what_is_held_out_depends_on_the_seed_alone(clouds: Sets) -> None:
    first, second = linear(*clouds, seed=5), linear(*clouds, seed=5)
    assert first.c == second.c
    assert first.right.equal(second.right)


def test_a_feature_that_never_varies_is_left_out() -> None:
    train, test = standardised(np.array([[1.0, 3.0], [3.0, 3.0]]), np.array([[2.0, 9.0]]))
    assert train.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert test.tolist() == [[0.0, 0.0]]


def test_classes_of_one_picture_each_are_learnt_without_a_part_held_out() -> None:
    features = torch.eye(3)
    assert linear(features, torch.arange(3), features, torch.arange(3)).top1 == 1.0


def test_features_that_are_not_finite_are_refused(clouds: Sets) -> None:
    train, labels, test, truth = clouds
    with pytest.raises(RunError, match="1 of 60 test pictures are not finite"):
        linear(train, labels, test.index_fill(0, torch.tensor([3]), torch.inf), truth)


def test_each_pictures_vote_agrees_with_the_accuracy_of_all(clouds: Sets) -> None:
    (result,) = knn(*clouds, ks=[7])
    right = knn_right(*clouds, k=7)
    assert right.shape == (60,)
    assert right.double().mean().item() == result.top1
