"""Which pictures a figure shows, and sheets of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslcli.data.sources import open_source
from sslcli.errors import RunError, UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.samples import evenly, numbers_of, pictures_of, read, vectors_of_tested
from sslcli.evaluation.sheets import Cell, fitted, sheet
from sslcli.evaluation.trial import Sets, Trial


@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_evenly_spread_and_within_the_set(seed: int) -> None:
    for count, most in ((10, 3), (3, 10), (7, 7), (1000, 6)):
        numbers = evenly(count, most, seed)
        assert len(set(numbers)) == min(count, most)
        assert set(numbers) <= set(range(count))
        assert len(numbers) < 2 or max(np.diff(numbers)) <= -(-count // min(count, most))


def test_a_broken_picture_is_replaced_by_the_next_that_can_be_read(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    found = read(open_source(str(tmp_path)), [0, 1, 2], Card(8, crop_share=1.0))
    assert found.places == (0, 2, 3)
    assert found.crops[:, 0, 0, 0].tolist() == [0, 2, 3]


def test_a_set_of_broken_pictures_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match="no picture of"):
        read(open_source(str(tmp_path)), [0], Card(8))


def test_pictures_are_those_that_are_tested_or_all_where_there_are_no_labels(
    picture_folder: Path, tmp_path: Path
) -> None:
    assert len(pictures_of(Trial("pixels", (Sets(str(picture_folder)),)))) == 4
    for path in picture_folder.rglob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert len(pictures_of(Trial("pixels", (Sets(str(tmp_path)),)))) == 24


def test_small_pictures_keep_their_pixels_when_enlarged() -> None:
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert np.array_equal(np.asarray(fitted(picture, 8))[::4, ::4], np.asarray(picture))


def test_a_sheet_has_a_place_for_every_cell_and_a_frame_where_one_is_asked_for() -> None:
    picture = Image.new("RGB", (4, 4), "#000000")
    made = sheet([[Cell(picture, "words"), Cell(picture, frame="#ff0000")], [Cell(None)]], ["one", "two"])
    colours = {colour for _, colour in made.getcolors(100_000)}
    assert {(0, 0, 0), (255, 0, 0), (255, 255, 255)} <= colours
    assert made.width < 300


def test_pictures_to_learn_from_are_not_looked_at_when_the_tested_ones_suffice(picture_folder: Path) -> None:
    notes: list[str] = []
    trial = Trial("pixels", (Sets(str(picture_folder)),), cache=False, note=notes.append)
    found = vectors_of_tested(trial)
    assert (len(found.features), found.labels.tolist()) == (4, [0, 0, 1, 1])
    assert found.features.mean(dim=0).abs().max() < 1e-5
    assert len([note for note in notes if note.startswith("features of 4 pictures")]) == 1
    assert not [note for note in notes if "of 20 pictures" in note]


def test_classes_are_found_by_name_or_guessed_at() -> None:
    assert numbers_of(("cat", "ant", "cat"), ("ant", "bee", "cat")) == [2, 0]
    with pytest.raises(UserError, match="no class 'cta'") as caught:
        numbers_of(("cta",), ("ant", "cat"))
    assert "'cat'" in caught.value.hint
