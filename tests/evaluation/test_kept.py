"""Features kept on disk."""

from pathlib import Path

import pytest
import torch

from sslcli.data.sources import open_source
from sslcli.evaluation import kept
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import Table
from sslcli.evaluation.subjects import Subject

TABLE = Table(torch.randn(3, 4), torch.tensor([0, 1, 3]), (("two.png", "the file is empty"),))


def subject(**changes: object) -> Subject:
    """A linear layer on nothing in particular."""
    torch.manual_seed(0)
    facts = {"run": "x", "said": "y", "encoder": torch.nn.Linear(2, 2), "card": Card(16), "made_by": {"pool": "auto"}}
    return Subject(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_table_comes_back_as_it_was_kept() -> None:
    kept.write("key", TABLE)
    found = kept.read("key")
    assert found is not None
    assert torch.equal(found.features, TABLE.features)
    assert torch.equal(found.positions, TABLE.positions)
    assert found.broken == TABLE.broken


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_file_counts_as_none(damage: str) -> None:
    kept.write("key", TABLE)
    file = kept.file_of("key")
    data = file.read_bytes()
    changed = {"cut": data[:-7], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "empty": b"", "gone": data}
    file.write_bytes(changed[damage])
    if damage == "gone":
        file.unlink()
    assert kept.read("key") is None


def test_a_disk_that_takes_nothing_costs_a_note(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "save_file", full)
    notes: list[str] = []
    kept.write("key", TABLE, note=notes.append)
    assert "No space left" in notes[0]
    assert list(own_cache.iterdir()) == []


def test_the_key_changes_with_weights_card_pooling_and_pictures(picture_folder: Path, tmp_path: Path) -> None:
    source = open_source(str(picture_folder))
    other = torch.nn.Linear(2, 2)
    subjects = [subject(), subject(encoder=other), subject(card=Card(16, 1.0)), subject(made_by={"pool": "mean"})]
    keys = [kept.key_of(one.fingerprint, source) for one in subjects]
    (tmp_path / "pictures").mkdir()
    path = next(picture_folder.rglob("*.png"))
    (tmp_path / "pictures" / "one.png").write_bytes(path.read_bytes())
    keys.append(kept.key_of(subjects[0].fingerprint, open_source(str(tmp_path / "pictures"))))
    assert len(set(keys)) == 5


def test_the_key_does_not_depend_on_what_the_run_is_called(picture_folder: Path) -> None:
    assert subject(run="a", said="b").fingerprint == subject().fingerprint
