"""LARS by hand."""

import pytest
import torch

from sslcli.training.lars import Lars


def moved(
    *, adapt: bool, steps: int, gradient: tuple[float, float] = (0.1, -0.2), decay: float = 1.5e-6
) -> list[float]:
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = Lars([{"params": [weight], "adapt": adapt, "weight_decay": decay}], lr=1.0)
    for _ in range(steps):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    return weight.tolist()


@pytest.mark.parametrize(("steps", "expected"), [(1, [2.997764, 4.004472]), (2, [2.993514, 4.012971])])
def test_a_weight_moves_by_its_trust_ratio(steps: int, expected: list[float]) -> None:
    assert moved(adapt=True, steps=steps) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("steps", "expected"), [(1, [2.9, 4.2]), (2, [2.71, 4.58])])
def test_a_bias_moves_by_plain_momentum(steps: int, expected: list[float]) -> None:
    assert moved(adapt=False, steps=steps) == pytest.approx(expected, abs=1e-12)


def test_a_weight_ignores_the_scale_of_its_gradient() -> None:
    assert moved(adapt=True, steps=3, decay=0.0) == pytest.approx(
        moved(adapt=True, steps=3, gradient=(1.0, -2.0), decay=0.0)
    )


def test_a_zero_weight_still_moves() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    Lars([{"params": [weight]}], lr=0.5).step()
    assert weight.tolist() == [-0.5, -0.5]
