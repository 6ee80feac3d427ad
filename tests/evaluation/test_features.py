"""Features of pictures, and what extraction must leave as it was."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sslcli.data.sources import open_source
from sslcli.evaluation.card import Card, normalise, show
from sslcli.evaluation.features import extract

CARD = Card(16)


class Watcher(nn.Module):
    """The mean colours, and a note of how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[bool, bool, torch.dtype]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_grad_enabled(), (images @ images.mT).dtype))
        means: Tensor = self.norm(images).mean(dim=(2, 3)) * self.weight
        return means


def test_each_picture_gets_the_features_of_its_crop(picture_folder: Path) -> None:
    source, encoder = open_source(str(picture_folder)), Watcher()
    table = extract(encoder, source, CARD, batch_size=5)
    alone = [torch.tensor(show(source.image(index), CARD))[None] for index in range(len(source))]
    expected = torch.cat([encoder.eval()(normalise(crop, CARD)) for crop in alone])
    torch.testing.assert_close(table.features, expected.detach())
    assert table.positions.tolist() == list(range(24))


def test_the_encoder_judges_in_evaluation_mode_in_32_bits_and_is_left_as_it_was(picture_folder: Path) -> None:
    encoder = Watcher().train()
    encoder.norm.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        table = extract(encoder, open_source(str(picture_folder)), CARD)
    assert set(encoder.seen) == {(False, False, torch.float32)}
    assert (encoder.training, encoder.norm.training) == (True, False)
    assert table.features.dtype == torch.float32
    assert not table.features.requires_grad


def test_extraction_draws_no_random_numbers(picture_folder: Path) -> None:
    before = torch.random.get_rng_state()
    extract(Watcher(), open_source(str(picture_folder)), CARD)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_workers_change_nothing(picture_folder: Path) -> None:
    source = open_source(str(picture_folder))
    alone, helped = (extract(Watcher(), source, CARD, batch_size=5, workers=workers) for workers in (0, 2))
    assert torch.equal(alone.features, helped.features)
    assert torch.equal(alone.positions, helped.positions)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_left_out_and_named(picture_folder: Path, tmp_path: Path, workers: int) -> None:
    for number, path in enumerate(sorted(picture_folder.rglob("*.png"))):
        data = path.read_bytes()
        (tmp_path / f"{number:02}.png").write_bytes(data[:60] if number == 3 else data)
    table = extract(Watcher(), open_source(str(tmp_path)), CARD, batch_size=5, workers=workers)
    assert table.positions.tolist() == [number for number in range(24) if number != 3]
    assert len(table.features) == 23
    assert table.broken[0][0].endswith("03.png")
