"""The sentinel tells healthy features from collapsed ones, in words."""

import math

import pytest
import torch

from sslcli.errors import COLLAPSED, Collapse
from sslcli.nn import Limit
from sslcli.nn import health as measures
from sslcli.recipe.tables import Sentinel as Options
from sslcli.training.sentinel import Sentinel, health


def test_the_effective_rank_of_equal_directions_is_their_number() -> None:
    features = torch.eye(8).repeat(4, 1)
    features = torch.cat([features, -features])
    found = health(features)
    assert found.effective_rank == pytest.approx(8.0)
    assert found.spread == pytest.approx(1.0)


def test_equal_features_have_no_spread() -> None:
    assert health(torch.ones(16, 4)).spread == pytest.approx(0.0, abs=1e-9)


def test_the_effective_rank_follows_its_definition() -> None:
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1])
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    values = torch.linalg.svdvals(unit - unit.mean(0)).tolist()
    shares = [value / sum(values) for value in values]
    assert health(features).effective_rank == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_the_metrics_hold_the_same_measures_as_an_evaluation() -> None:
    features = torch.randn(40, 12, generator=torch.Generator().manual_seed(0)) + 1.0
    assert health(features).numbers() == {
        "health/effective_rank": measures.effective_rank(features),
        "health/spread": measures.spread(features),
        "health/rankme": measures.rankme(features),
        "health/alpha_req": measures.alpha_req(features),
        "health/uniformity": measures.uniformity(features),
    }


def test_what_a_batch_is_too_small_for_is_not_among_the_metrics() -> None:
    numbers = health(torch.randn(5, 12, generator=torch.Generator().manual_seed(0))).numbers()
    assert "health/alpha_req" not in numbers
    assert all(math.isfinite(value) for value in numbers.values())


def test_features_that_are_no_numbers_are_poor_and_stop_no_measure() -> None:
    found, warning = Sentinel(Options()).check_features(0, torch.full((16, 4), math.nan))
    assert "they are not finite" in warning
    assert set(found.numbers()) == {"health/effective_rank", "health/spread"}


def test_collapse_is_told_after_patience_and_not_before() -> None:
    sentinel = Sentinel(Options(patience=3))
    collapsed = torch.ones(16, 4) + 1e-6 * torch.randn(16, 4)
    warnings = [sentinel.check_features(step, collapsed)[1] for step in (0, 1)]
    assert all("all pictures get nearly the same vector" in warning for warning in warnings)
    with pytest.raises(Collapse, match="collapsed") as caught:
        sentinel.check_features(2, collapsed)
    assert caught.value.exit_code == COLLAPSED


def test_one_healthy_look_starts_the_count_again() -> None:
    sentinel = Sentinel(Options(patience=2))
    healthy, collapsed = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)), torch.ones(32, 8)
    sentinel.check_features(0, collapsed)
    assert sentinel.check_features(1, healthy)[1] == ""
    assert sentinel.check_features(2, collapsed)[1]


def test_too_few_pictures_are_measured_but_not_judged() -> None:
    sentinel = Sentinel(Options(patience=1))
    found, warning = sentinel.check_features(0, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert found.effective_rank == pytest.approx(1.0)  # less than the limit: two points always lie on a line
    assert warning == ""


def test_features_along_one_line_are_a_collapse() -> None:
    line = torch.linspace(-1, 1, 32)[:, None] * torch.ones(1, 6)
    assert "one direction only" in Sentinel(Options()).check_features(0, line)[1]


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_part() -> None:
    with pytest.raises(Collapse, match="mae is nan"):
        Sentinel(Options()).check_loss(
            9, {"loss": math.nan, "mae": math.nan, "other": 1.0}, "there is no checkpoint yet"
        )


def test_a_model_that_is_not_finite_is_not_saved() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.bias.data[0] = math.inf
    with pytest.raises(Collapse, match="bias"):
        Sentinel(Options()).check_parameters(9, layer, "the last checkpoint is step-00000001")


def test_a_sentinel_told_not_to_stop_only_warns() -> None:
    sentinel = Sentinel(Options(stop=False, patience=1))
    assert sentinel.check_features(0, torch.ones(8, 4))[1]
    sentinel.check_loss(0, {"loss": math.nan}, "")


LIMIT = Limit("all pictures fall on one prototype", least=0.1, hint="sharpen less")


def test_a_number_outside_its_limit_is_a_warning_and_then_a_collapse() -> None:
    sentinel = Sentinel(Options(patience=2))
    (warning,) = sentinel.check_limits(9, {"group/entropy": 0.01}, {"group/entropy": LIMIT})
    assert warning == "all pictures fall on one prototype (group/entropy is 0.01) at step 10; sharpen less"
    with pytest.raises(Collapse, match="at 2 looks in a row up to step 20") as caught:
        sentinel.check_limits(19, {"group/entropy": 0.01}, {"group/entropy": LIMIT})
    assert caught.value.hint == "sharpen less"


def test_a_limit_that_does_not_stop_only_warns() -> None:
    gentle = Limit("the memory is too large", most=0.1, stops=False)
    sentinel = Sentinel(Options(patience=1))
    assert sentinel.check_limits(9, {"own": 0.2}, {"own": gentle}) == [
        "the memory is too large (own is 0.2) at step 10"
    ]


def test_one_look_within_the_limit_starts_the_count_again() -> None:
    sentinel = Sentinel(Options(patience=2))
    for value in (0.01, 0.5, 0.01):
        warned = bool(sentinel.check_limits(0, {"entropy": value}, {"entropy": LIMIT}))
        assert warned == (value < 0.1)


def test_a_number_that_was_not_logged_is_not_judged() -> None:
    assert Sentinel(Options(patience=1)).check_limits(0, {}, {"entropy": LIMIT}) == []


def test_dead_experts_are_told_of_once_and_again_when_others_die() -> None:
    sentinel = Sentinel(Options())
    looks = [[4.0, 0.0, 2.0, 2.0], [3.0, 0.0, 1.0, 4.0], [4.0, 0.0, 0.0, 4.0], [1.0, 1.0, 1.0, 1.0]]
    told = [sentinel.check_experts(49, {"model.blocks.9": torch.tensor(look)}) for look in looks]
    assert told[0][0] == {"routing/model.blocks.9/busiest": 0.5, "routing/model.blocks.9/idlest": 0.0}
    assert [len(warnings) for _, warnings in told] == [1, 0, 1, 0]
    assert "nothing goes to expert 1 of model.blocks.9, of 4" in told[0][1][0]
    assert "nothing goes to experts 1, 2 of model.blocks.9" in told[2][1][0]


def test_a_routing_that_sends_everything_to_one_expert_has_collapsed() -> None:
    _, (warning,) = Sentinel(Options()).check_experts(49, {"blocks.1": torch.tensor([0.0, 8.0, 0.0])})
    assert "all goes to expert 1 of blocks.1: the routing has collapsed" in warning
