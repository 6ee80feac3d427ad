"""Measures of features without labels, against their equations in plain loops and cases that are known."""

import math

import pytest
import torch
from torch import Tensor

from sslcli.nn import health


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers whose last axis has spreads that fall from 1, in 64 bits."""
    numbers = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return numbers / torch.arange(1, shape[-1] + 1).sqrt()


def exp_entropy(values: list[float], eps: float = 0.0) -> float:
    """exp(-sum p log p) of shares p, in a loop."""
    shares = [value / sum(values) + eps for value in values]
    return math.exp(-sum(share * math.log(share) for share in shares))


@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_singular_values_are_those_of_the_matrix(shape: tuple[int, int]) -> None:
    features = drawn(*shape)
    torch.testing.assert_close(health.singular_values(features), torch.linalg.svdvals(features))


def test_singular_values_of_what_is_not_finite_are_no_numbers() -> None:
    assert health.singular_values(torch.tensor([[1.0, math.inf], [0.0, 1.0]])).isnan().all()


def test_rankme_follows_its_equation_on_features_as_they_come() -> None:
    features = drawn(40, 7) + 3.0
    values = torch.linalg.svdvals(features).tolist()
    assert health.rankme(features) == pytest.approx(exp_entropy(values, eps=1e-7))


def test_rankme_of_equal_directions_is_their_number_whatever_the_scale() -> None:
    assert health.rankme(5.0 * torch.eye(12).repeat(3, 1)) == pytest.approx(12.0, rel=1e-4)


def test_rankme_counts_what_all_pictures_share_and_the_effective_rank_does_not() -> None:
    features = torch.cat([torch.eye(6), -torch.eye(6)]) + 100.0
    assert health.rankme(features) < 1.5
    assert health.effective_rank(torch.cat([torch.eye(6), -torch.eye(6)])) == pytest.approx(6.0)


def test_the_effective_rank_follows_its_equation_on_centred_unit_features() -> None:
    features = drawn(40, 7) + 1.0
    unit = features / features.norm(dim=1, keepdim=True)
    values = torch.linalg.svdvals(unit - unit.mean(dim=0)).tolist()
    assert health.effective_rank(features) == pytest.approx(exp_entropy(values))


def test_features_that_are_all_alike_have_no_spread_and_a_rank_of_one() -> None:
    features = torch.ones(16, 5)
    assert health.spread(features) == pytest.approx(0.0, abs=1e-9)
    assert health.rankme(features) == pytest.approx(1.0, abs=1e-4)
    assert health.uniformity(features) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_alpha_is_the_exponent_of_a_spectrum_that_is_a_power_law(alpha: float) -> None:
    rank = torch.arange(1, 65, dtype=torch.float64)
    assert health.power_law(rank.pow(-alpha / 2)).item() == pytest.approx(alpha)


def test_alpha_is_the_slope_of_weighted_least_squares() -> None:
    values = torch.linalg.svdvals(drawn(200, 30))
    points = [(math.log(rank), math.log(values[rank - 1] ** 2), 1 / rank) for rank in range(3, 21)]
    total = sum(w for _, _, w in points)
    mean_x, mean_y = (sum(w * point[axis] for point in points for w in [point[2]]) / total for axis in (0, 1))
    slope = sum(w * (x - mean_x) * (y - mean_y) for x, y, w in points)
    slope /= sum(w * (x - mean_x) ** 2 for x, _, w in points)
    assert health.power_law(values, (3, 20)).item() == pytest.approx(-slope)


def test_alpha_of_too_few_directions_is_no_number() -> None:
    assert math.isnan(health.alpha_req(drawn(50, 6)))
    assert not math.isnan(health.alpha_req(drawn(50, 7)))


def test_uniformity_is_the_log_of_the_mean_kernel_over_all_pairs() -> None:
    features = drawn(9, 4)
    unit = features / features.norm(dim=1, keepdim=True)
    kernels = [math.exp(-2 * float((unit[i] - unit[j]).square().sum())) for i in range(9) for j in range(i)]
    assert health.uniformity(features) == pytest.approx(math.log(sum(kernels) / len(kernels)))


def test_uniformity_in_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = health.uniformity(drawn(23, 4))
    monkeypatch.setattr(health, "BLOCK", 5)
    assert health.uniformity(drawn(23, 4)) == pytest.approx(whole)


def test_alignment_is_the_mean_square_distance_of_each_pair_of_views() -> None:
    views = drawn(3, 4, 5)
    unit = views / views.norm(dim=2, keepdim=True)
    for picture, found in zip(unit, health.alignments(views)):
        pairs = [float((picture[i] - picture[j]).square().sum()) for i in range(4) for j in range(i)]
        assert found.item() == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(("pictures", "width"), [(12, 5), (5, 12)])
def test_lidar_is_the_rank_of_the_matrix_that_whitens_between_by_within(pictures: int, width: int) -> None:
    views = drawn(pictures, 4, width) + drawn(pictures, 1, width, seed=1)
    between = torch.zeros(width, width, dtype=torch.float64)
    within = 1e-4 * torch.eye(width, dtype=torch.float64)
    for picture in views:
        away = picture.mean(dim=0) - views.mean(dim=(0, 1))
        between += torch.outer(away, away) / pictures
        for view in picture - picture.mean(dim=0):
            within += torch.outer(view, view) / (pictures * 4)
    squares, vectors = torch.linalg.eigh(within)
    root = vectors @ torch.diag(squares.rsqrt()) @ vectors.T
    values = torch.linalg.eigvalsh(root @ between @ root).clamp_min(0).tolist()
    assert health.lidar(views) == pytest.approx(exp_entropy(values, eps=1e-7))


def test_lidar_does_not_count_directions_in_which_views_of_one_picture_differ() -> None:
    own, noise = torch.zeros(64, 8, 6, dtype=torch.float64), torch.zeros(64, 8, 6, dtype=torch.float64)
    own[..., :2] = drawn(64, 1, 2)
    noise[..., 2:] = drawn(64, 8, 4, seed=1)
    assert health.lidar(own + noise) == pytest.approx(2.0, abs=0.1)
    assert health.rankme((own + noise).flatten(0, 1)) > 4.0


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
def test_an_influence_is_what_counting_a_picture_a_little_more_does(shape: tuple[int, int]) -> None:
    features, step = drawn(*shape), 1e-4
    found = health.influences(features, health.entropy_rank)
    for picture in (0, 5):
        weight = torch.ones(len(features), 1, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            weight[picture] = (1 + sign * step) ** 0.5
            ends.append(health.entropy_rank(torch.linalg.svdvals(weight * features)).item())
        assert found[picture].item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4)


def test_influences_have_the_deviation_of_a_bootstrap() -> None:
    features, chance = drawn(400, 6), torch.Generator().manual_seed(1)
    resamples = [features[torch.randint(400, (400,), generator=chance)] for _ in range(300)]
    found = torch.tensor([health.rankme(resample) for resample in resamples]).std().item()
    told = health.influences(features, health.smoothed_rank).square().sum().sqrt().item()
    assert told == pytest.approx(found, rel=0.2)
