"""The rates of the specifications, number by number."""

import math

import pytest

from sslcli.api import Context, Progress, Schedule, value_at
from sslcli.recipe.tables import Optimizer
from sslcli.training.schedule import LearningRate, learning_rate


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 0.0), (20, 1.2e-3), (40, 2.4e-3), (200, 2.146969e-3), (420, 1.2e-3), (799, 1.025234e-8)],
)
def test_mae_rates_follow_its_specification(epoch: int, expected: float) -> None:
    rate = LearningRate(peak=2.4e-3, final=0.0, warmup=40 * 312, steps=800 * 312)
    assert rate.at(epoch * 312) == pytest.approx(expected, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.0), (1, 1.031034e-7), (9699, 1e-3), (9700, 1e-3), (43650, 5.005e-4), (77599, 1.0000005e-6)],
)
def test_patchmix_rates_reach_the_peak_on_the_last_warmup_step(step: int, expected: float) -> None:
    rate = LearningRate(peak=1e-3, final=1e-6, warmup=9700, steps=77600, reaches_peak=True)
    assert rate.at(step) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (1, 0.001535), (1563, 2.399232), (3127, 4.8), (80541, 4.097061), (312784, 0.0)]
)
def test_relicv2_rates_follow_its_specification(step: int, expected: float) -> None:
    rate = LearningRate(peak=4.8, final=0.0, warmup=3127, steps=312784)
    assert rate.at(step) == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_the_peak_scales_with_the_whole_batch() -> None:
    options = Optimizer(lr=1.5e-4, warmup_epochs=40.0)
    rate = learning_rate(options, Context(batch_size=4096, steps=100, steps_per_epoch=10))
    assert rate.peak == pytest.approx(2.4e-3)
    assert rate.warmup == 400


def test_a_rate_without_reference_batch_is_taken_as_it_is() -> None:
    assert learning_rate(Optimizer(lr=0.3, lr_batch=0), Context(batch_size=4096)).peak == 0.3


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0.996), (0.25, 0.996586), (0.5, 0.998), (0.75, 0.999414), (1.0, 1.0)]
)
def test_a_cosine_momentum_rises_to_one(share: float, expected: float) -> None:
    momentum = Schedule(start=0.996, end=1.0)
    assert value_at(momentum, Progress(round(share * 4000), 4000, 40)) == pytest.approx(expected, abs=5e-7)


def test_an_epoch_schedule_that_reaches_its_end_is_numpy_linspace() -> None:
    temperature = Schedule(start=0.04, end=0.07, schedule="linear", epochs=30.0, per="epoch", reaches_end=True)
    values = [value_at(temperature, Progress(epoch * 7 + 3, 300 * 7, 7)) for epoch in (0, 1, 29, 299)]
    assert values == pytest.approx([0.04, 0.04 + 0.03 / 29, 0.07, 0.07], rel=1e-9)


def test_weight_decay_over_an_epoch_matches_the_released_mugs_log() -> None:
    decay = Schedule(start=0.04, end=0.2)
    mean = math.fsum(value_at(decay, Progress(step, 100 * 2502, 2502)) for step in range(2502)) / 2502
    assert mean == pytest.approx(0.04001315093548, rel=1e-9)


def test_a_step_schedule_jumps_once() -> None:
    clip = Schedule(start=3.0, end=0.3, schedule="step", epochs=101.0)
    assert [value_at(clip, Progress(step, 250 * 4, 4)) for step in (0, 403, 404, 999)] == [3.0, 3.0, 0.3, 0.3]
