"""Tables of features kept on disk."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from sslcli.data.sources import open_source
from sslcli.errors import RunError, Unwritable
from sslcli.evaluation import kept
from sslcli.evaluation.blocks import Blocks
from sslcli.evaluation.card import Card
from sslcli.evaluation.features import Table
from sslcli.evaluation.filling import Job
from sslcli.evaluation.subjects import Subject

HOLDER = """
import sys
from pathlib import Path
from sslcli.evaluation.kept import alone
with alone(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


class Fake:
    """Fills blocks with the numbers of their pictures; every fifth cannot be read. Counts how often it is asked."""

    def __init__(self) -> None:
        self.filled: list[int] = []

    def __call__(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            for block in job.blocks.missing():
                good = [number for number in job.blocks.numbers(block) if number % 5]
                bad = [(f"{number}.png", "is empty") for number in job.blocks.numbers(block) if not number % 5]
                places = torch.tensor(good)
                job.blocks.write(block, Table(places[:, None] * torch.ones(3), places, tuple(bad)))
                self.filled.append(block)


@pytest.fixture
def ask(picture_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Table]:
    """The table of 24 pictures, in blocks of ten."""
    monkeypatch.setattr(kept, "BLOCK", 10)
    source = open_source(str(picture_folder))

    def table(fill: kept.Fill, note: Callable[[str], None] = print) -> Table:
        return kept.tables(tmp_path / "shelf", "someone", [source], fill, note)[0]

    return table


def test_a_table_is_that_of_its_blocks_in_their_order(ask: Callable[..., Table]) -> None:
    table = ask(Fake())
    assert table.positions.tolist() == [number for number in range(24) if number % 5]
    assert torch.equal(table.features, table.positions[:, None] * torch.ones(3))
    assert [path for path, _ in table.broken] == ["0.png", "5.png", "10.png", "15.png", "20.png"]


def test_a_table_that_is_kept_is_not_made_again(ask: Callable[..., Table], tmp_path: Path) -> None:
    fake = Fake()
    first, second = ask(fake), ask(fake)
    assert fake.filled == [0, 1, 2]
    assert torch.equal(first.features, second.features)
    assert first.broken == second.broken
    assert not list((tmp_path / "shelf").glob("*.blocks"))


def test_blocks_that_are_there_are_not_made_again(ask: Callable[..., Table]) -> None:
    def killed(jobs: Sequence[Job]) -> None:
        jobs[0].blocks.write(1, Table(torch.full((1, 3), 7.0), torch.tensor([11])))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(killed)
    fake = Fake()
    assert ask(fake).features[8:9].tolist() == [[7.0, 7.0, 7.0]]
    assert fake.filled == [0, 2]


def test_a_table_is_mapped_and_a_change_of_it_stays_in_memory(ask: Callable[..., Table], tmp_path: Path) -> None:
    table = ask(Fake())
    mapped = Path("/proc/self/maps").read_text()
    assert str(next((tmp_path / "shelf").glob("*/features.npy"))) in mapped
    table.features.zero_()
    assert ask(Fake()).features.sum() > 0


@pytest.mark.parametrize("name", ["features.npy", "positions.npy", "table.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone"])
def test_a_damaged_table_is_made_again(ask: Callable[..., Table], tmp_path: Path, name: str, damage: str) -> None:
    fake = Fake()
    ask(fake)
    (file,) = (tmp_path / "shelf").glob(f"*/{name}")
    data = file.read_bytes()
    file.unlink()
    if damage != "gone":
        changed = {"cut": data[:-7], "flipped": data[:-4] + bytes([data[-4] ^ 1]) + data[-3:], "empty": b""}
        file.write_bytes(changed[damage])
    assert ask(fake).features[-1].tolist() == [23.0, 23.0, 23.0]
    assert fake.filled == [0, 1, 2] * 2


def test_pictures_of_which_none_can_be_read_have_an_empty_table(ask: Callable[..., Table]) -> None:
    def nothing(jobs: Sequence[Job]) -> None:
        for block in jobs[0].blocks.missing():
            jobs[0].blocks.write(block, Table(torch.empty(0, 0), torch.empty(0, dtype=torch.int64), (("a", "b"),)))

    table = ask(nothing)
    assert (table.features.shape, table.positions.shape, len(table.broken)) == ((0, 0), (0,), 3)


def test_two_sources_that_are_the_same_are_made_once(picture_folder: Path, tmp_path: Path) -> None:
    fake, source = Fake(), open_source(str(picture_folder))
    one, two = kept.tables(tmp_path, "someone", [source, source], fake)
    assert fake.filled == [0]
    assert torch.equal(one.features, two.features)


def test_another_process_is_waited_for(ask: Callable[..., Table], tmp_path: Path) -> None:
    def fill_and_look(jobs: Sequence[Job]) -> None:
        folders.append(jobs[0].blocks.folder)
        Fake()(jobs)

    folders: list[Path] = []
    ask(fill_and_look)
    shutil.rmtree(tmp_path / "shelf")
    command = [sys.executable, "-c", HOLDER, str(folders[0])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        def let_go(line: str) -> None:
            notes.append(line)
            if "waiting" in line:
                assert not filled.filled
                holder.kill()

        notes: list[str] = []
        filled = Fake()
        ask(filled, let_go)
    assert notes[1] == "another process makes these features: waiting for it"
    assert filled.filled == [0, 1, 2]


def test_the_lock_is_one_that_nfs_gives_too(ask: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_nfs(handle: int, how: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        locked.append(how)

    locked: list[int] = []
    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    ask(Fake())
    assert locked == [fcntl.LOCK_EX | fcntl.LOCK_NB]


def test_where_there_are_no_locks_the_table_of_another_process_is_taken(ask: Callable[..., Table]) -> None:
    def fill_beside_another(jobs: Sequence[Job]) -> None:
        Fake()(jobs)
        ask(Fake())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
        assert len(ask(fill_beside_another).positions) == 19


def test_blocks_that_somebody_takes_away_are_told(ask: Callable[..., Table]) -> None:
    def fill_for_nothing(jobs: Sequence[Job]) -> None:
        Fake()(jobs)
        shutil.rmtree(jobs[0].blocks.folder)

    with pytest.raises(RunError, match="are damaged or gone"):
        ask(fill_for_nothing)


def test_what_was_killed_while_it_took_its_blocks_away_leaves_none(ask: Callable[..., Table], tmp_path: Path) -> None:
    ask(Fake())
    (folder,) = (tmp_path / "shelf").iterdir()
    Blocks(folder.with_suffix(".blocks"), 24, 10).write(2, Table(torch.zeros(1, 3), torch.tensor([21])))
    assert len(ask(Fake()).positions) == 19
    assert list((tmp_path / "shelf").iterdir()) == [folder]


def test_a_disk_that_takes_nothing_is_told(
    ask: Callable[..., Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "settle", full)
    with pytest.raises(Unwritable, match="No space left on device"):
        ask(Fake())
    assert [path.suffix for path in (tmp_path / "shelf").iterdir()] == [".blocks"]


def test_what_was_written_is_what_numpy_opens(ask: Callable[..., Table], tmp_path: Path) -> None:
    import numpy as np

    table = ask(Fake())
    (folder,) = (path for path in (tmp_path / "shelf").iterdir())
    assert np.array_equal(np.load(folder / "features.npy"), table.features.numpy())
    assert len(json.loads((folder / "table.json").read_text())["broken"]) == 5


def subject(**changes: object) -> Subject:
    """A linear layer on nothing in particular."""
    torch.manual_seed(0)
    facts = {"run": "x", "said": "y", "encoder": torch.nn.Linear(2, 2), "card": Card(16), "made_by": {"pool": "auto"}}
    return Subject(**{**facts, **changes})  # type: ignore[arg-type]


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
