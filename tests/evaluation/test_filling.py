"""Blocks of features: made by one process or several, whole or not there."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sslcli.data.source import Source
from sslcli.data.sources import open_source
from sslcli.errors import RunError, Unwritable
from sslcli.evaluation.blocks import Blocks
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import Table, extract
from sslcli.evaluation.filling import Job, fill
from sslcli.evaluation.opening import open_subject

CARD = Card(16)


class Means(nn.Module):
    """The mean of every colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture
def source(picture_folder: Path) -> Source:
    """24 pictures."""
    return open_source(str(picture_folder))


def table_of(blocks: Blocks) -> Table:
    """All blocks as one table."""
    tables = [blocks.read(block) for block in range(len(blocks))]
    features, positions = (torch.cat([getattr(table, name) for table in tables]) for name in ("features", "positions"))
    return Table(features, positions, tuple(entry for table in tables for entry in table.broken))


def test_blocks_hold_what_is_extracted_at_once(source: Source, tmp_path: Path) -> None:
    blocks = Blocks(tmp_path, len(source), 7)
    fill(Means(), CARD, [Job(source, blocks)], note=print)
    found, alone = table_of(blocks), extract(Means(), source, CARD)
    assert torch.equal(found.positions, alone.positions)
    torch.testing.assert_close(found.features, alone.features)
    assert [len(blocks.read(block).positions) for block in range(len(blocks))] == [7, 7, 7, 3]


def test_only_what_is_missing_is_made(source: Source, tmp_path: Path) -> None:
    blocks, notes = Blocks(tmp_path, len(source), 10), []
    blocks.write(1, Table(torch.zeros(10, 3), torch.arange(10, 20)))
    fill(Means(), CARD, [Job(source, blocks)], note=notes.append)
    assert blocks.missing() == []
    assert not blocks.read(1).features.any()
    assert notes[0] == f"features of 10 of 24 pictures of {source.spec} are there already"
    assert notes[1].startswith("features of 14 pictures of")


@pytest.mark.slow
def test_two_processes_make_the_blocks_that_one_does(
    make_run: Callable[..., Path], source: Source, tmp_path: Path
) -> None:
    subject = open_subject(str(make_run()))
    one, two = (Blocks(tmp_path / name, len(source), 10) for name in ("one", "two"))
    for blocks, processes in ((one, 1), (two, 2)):
        fill(subject.encoder, subject.card, [Job(source, blocks)], processes=processes, note=print)
    assert torch.equal(table_of(two).positions, table_of(one).positions)
    torch.testing.assert_close(table_of(two).features, table_of(one).features)


def test_an_encoder_that_cannot_be_handed_on_works_alone(source: Source, tmp_path: Path) -> None:
    encoder, blocks, notes = Means(), Blocks(tmp_path, len(source), 10), []
    encoder.register_forward_hook(lambda *_: None)
    fill(encoder, CARD, [Job(source, blocks)], processes=2, note=notes.append)
    assert blocks.missing() == []
    assert notes[0].startswith("warning: one process does all")


def test_a_damaged_block_is_told_and_made_again(source: Source, tmp_path: Path) -> None:
    blocks = Blocks(tmp_path, len(source), 10)
    blocks.file(1).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="are damaged"):
        blocks.read(1)
    assert blocks.missing() == [0, 1, 2]


def test_a_full_disk_leaves_no_half_block(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sslcli.nn.tensor_files.save_file", full)
    with pytest.raises(Unwritable, match="No space left"):
        Blocks(tmp_path, 24).write(0, Table(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)))
    assert list(tmp_path.glob("*block*")) == []
