"""Few pictures, evenly over the classes; shares, means and intervals."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sslcli_finetune.evaluations.scores import by_class, in_top, mean_of_means
from sslcli_finetune.evaluations.semi import chosen, over_draws, student_interval
from sslcli_finetune.evaluations.transfer import metric_of
from sslcli_finetune.parts import balanced, equal_count

from sslcli.errors import UserError
from sslcli.evaluation.trial import Labelled

LABELS = np.repeat(np.arange(3), [4, 40, 100])


def test_every_class_gives_the_same_number_where_it_has_so_many() -> None:
    assert np.bincount(LABELS[balanced(LABELS, 0.25, 0)]).tolist() == [4, 16, 16]


def test_every_class_gives_one_picture_at_least_and_a_whole_share_all() -> None:
    assert np.bincount(LABELS[balanced(LABELS, 0.001, 0)]).tolist() == [1, 1, 1]
    assert balanced(LABELS, 1.0, 0).tolist() == list(range(144))


def test_another_seed_draws_other_pictures_and_the_same_the_same() -> None:
    first, again, other = (balanced(LABELS, 0.1, seed).tolist() for seed in (0, 0, 1))
    assert first == again != other


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.floats(0.001, 1.0))
def test_no_larger_number_of_each_class_would_do(counts: list[int], share: float) -> None:
    wanted = round(share * sum(counts))
    each = equal_count(np.array(counts), wanted)
    assert each == 1 or sum(min(count, each) for count in counts) <= wanted
    assert each >= max(counts) or sum(min(count, each + 1) for count in counts) > wanted


def test_a_label_is_among_the_first_classes_or_not() -> None:
    logits, labels = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1, 2])
    assert in_top(logits, labels, top=1).tolist() == [False, False]
    assert in_top(logits, labels, top=2).tolist() == [True, False]
    assert in_top(logits, labels).tolist() == [True, True]


def test_the_mean_over_classes_weighs_a_rare_class_as_a_frequent_one() -> None:
    right, labels = torch.tensor([True] * 9 + [False]), torch.tensor([0] * 9 + [1])
    found = mean_of_means([by_class(right, labels)], seed=0)
    assert found.value == 0.5
    assert mean_of_means([[right]], seed=0).value == pytest.approx(0.9)


def test_the_interval_of_a_mean_over_sets_is_that_of_independent_sets() -> None:
    sets = [torch.rand(400, generator=torch.Generator().manual_seed(n)) < 0.5 for n in range(4)]
    found = mean_of_means([[right] for right in sets], seed=0)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * 0.5 / 1600**0.5, rel=0.15)


def test_the_interval_over_draws_is_scipys() -> None:
    values = [0.5, 0.55, 0.6]
    wanted = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert student_interval(values) == pytest.approx(wanted)


def test_a_linear_classifier_learns_the_pictures_that_were_drawn_and_could_be_read() -> None:
    positions, labels = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 0, 1, 1])  # 1 and 4 are broken
    part = chosen(Labelled(positions[:, None].float(), labels, positions), np.array([1, 2, 5]))
    assert (part.positions.tolist(), part.labels.tolist(), part.features[:, 0].tolist()) == ([2, 5], [0, 1], [2.0, 5.0])
    with pytest.raises(UserError, match="fewer than two classes are left"):
        chosen(Labelled(positions[:, None].float(), labels, positions), np.array([0, 2]))


def test_draws_are_joined_by_their_mean() -> None:
    right = [torch.tensor([True, False]), torch.tensor([True, True])]
    row = over_draws([(one, torch.tensor([True, True])) for one in right], seed=0)
    assert (row["top1"], row["top5"]) == (0.75, 1.0)
    assert row["deviation"] == pytest.approx(0.125**0.5)


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("hf:HuggingFaceM4/FGVC-Aircraft", "mean_per_class"),
        ("./caltech-101", "mean_per_class"),
        ("parquet:flowers/*.parquet", "mean_per_class"),
        ("/data/oxford-iiit-pets", "mean_per_class"),
        ("hf:cifar10", "top1"),
        ("./Cars", "top1"),
    ],
)
def test_the_measure_goes_by_the_name_of_the_set(name: str, metric: str) -> None:
    assert metric_of("auto", name) == metric
    assert metric_of("top1", name) == "top1"
