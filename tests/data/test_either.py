"""Two photometric pipelines on one batch."""

import pytest
import torch
from torch import Tensor

from sslcli.api import Context
from sslcli.data.draws import stack_draws, view_generator
from sslcli.data.either import EitherPhotometric
from sslcli.data.photometric import Photometric
from sslcli.data.settings import Photometry

PAIRS = {
    "nothing alike": (
        {"jitter": 0.8, "grey": 0.3, "blur": 0.5, "solarise": 0.3},
        {"erase": {"before_normalise": True}},
    ),
    "all alike": ({"jitter": 0.8, "blur": 1.0, "erase": 0.7}, {"jitter": 0.2, "blur": 0.1, "grey": 0.5, "erase": 1.0}),
    "other strengths": (
        {
            "jitter": {"form": "torchvision"},
            "blur": {"probability": 0.8, "sigma": [0.1, 0.5]},
            "solarise": {"threshold": 200.0},
        },
        {"jitter": 1.0, "blur": 0.8, "solarise": 0.5},
    ),
    "erased early and late": (
        {"erase": {"probability": 1.0, "before_normalise": True}},
        {"erase": {"probability": 1.0, "before_normalise": False}},
    ),
    "nothing done": ({}, {}),
}


def part(table: dict) -> Photometric:
    return Photometric(Photometry.model_validate(table), 16, Context())


def drawn(photometric: Photometric, count: int) -> dict[str, Tensor]:
    numbers = (view_generator(0, 0, row, "g", 0).random(photometric.numbers).tolist() for row in range(count))
    draws = stack_draws([[photometric.draw(row, 0) for row in numbers]])
    return {name: torch.from_numpy(array[0]) for name, array in draws.items()}


def batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    crops = torch.randint(0, 256, (count, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return crops, torch.rand(count, generator=generator) < 0.5


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_row_becomes_what_its_own_pipeline_makes_of_it(pair):
    first, second = map(part, pair)
    crops, coin = batch(24)
    draws = drawn(first, 24), drawn(second, 24)
    images = EitherPhotometric(first, second)(crops, coin, *draws)
    expected = torch.where(coin.view(-1, 1, 1, 1), second(crops, draws[1]), first(crops, draws[0]))
    assert torch.allclose(images, expected, atol=1e-5)
    assert not torch.allclose(first(crops, draws[0]), second(crops, draws[1])) or pair == ({}, {})


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_row_does_not_depend_on_the_others(pair):
    first, second = map(part, pair)
    crops, coin = batch(12)
    draws = drawn(first, 12), drawn(second, 12)
    either = EitherPhotometric(first, second)
    alone = [
        either(crops[r : r + 1], coin[r : r + 1], *({n: d[r : r + 1] for n, d in side.items()} for side in draws))
        for r in range(12)
    ]
    assert torch.allclose(either(crops, coin, *draws), torch.cat(alone), atol=1e-5)


def test_crops_and_draws_stay_as_they_were():
    first, second = map(part, PAIRS["all alike"])
    crops, coin = batch(8)
    draws = drawn(first, 8), drawn(second, 8)
    before = [value.clone() for value in (crops, coin, *draws[0].values(), *draws[1].values())]
    EitherPhotometric(first, second)(crops, coin, *draws)
    assert all(map(torch.equal, before, (crops, coin, *draws[0].values(), *draws[1].values())))


@pytest.mark.parametrize(("pair", "passes"), [("nothing alike", 6), ("all alike", 5), ("other strengths", 7)])
def test_what_both_have_alike_is_done_once(pair, passes):
    either = EitherPhotometric(*map(part, PAIRS[pair]))
    assert len(list(either.passes({}, {}, {}))) == passes


def test_a_draw_that_is_not_of_the_row_is_zero_so_it_may_be_anything():
    first, second = map(part, PAIRS["nothing alike"])
    crops, coin = batch(8)
    draws = drawn(first, 8), drawn(second, 8)
    other = {
        name: torch.where(coin.view(-1, *[1] * (d.ndim - 1)), torch.ones_like(d), d) for name, d in draws[0].items()
    }
    either = EitherPhotometric(first, second)
    assert torch.equal(either(crops, coin, *draws), either(crops, coin, other, draws[1]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_gpu_gives_the_same(pair):
    first, second = map(part, pair)
    crops, coin = batch(24)
    draws = drawn(first, 24), drawn(second, 24)
    either = EitherPhotometric(first, second)
    images = either(crops.cuda(), coin.cuda(), *({name: d.cuda() for name, d in side.items()} for side in draws))
    assert torch.allclose(images.cpu(), either(crops, coin, *draws), atol=1e-3)
