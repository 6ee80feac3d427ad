"""A part of a set: by classes, rows or names; what is refused; the halves of ImageNet; runs on a part."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sslcli.cli import run
from sslcli.data.masks import open_masks
from sslcli.data.part import PartOfMasks, absolute_part, find_part, open_part, read_part, write_rows
from sslcli.data.sources import Source, open_source
from sslcli.errors import UserError
from sslcli.recipe import list_recipes
from sslcli.recipe.catalogue import list_parts
from sslcli.testing.pictures import write_masks, write_pictures


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Six pictures: ellipse/000 002 004, then rectangle/001 003 005."""
    return open_source(str(write_pictures(tmp_path / "pictures", 6)))


@pytest.fixture
def part(tmp_path: Path) -> Callable[..., str]:
    """`part(classes=[…])`: the path of a part."""

    def write(text: str = "", **said: Any) -> str:
        (tmp_path / "part.json").write_text(text or json.dumps(said))
        return str(tmp_path / "part.json")

    return write


class Thousand:
    """A set of 1000 classes of one picture each, as ImageNet is: called by synsets, or by words."""

    spec, said, fingerprint, by_row = "thousand", "a thousand pictures", "f" * 32, True

    def __init__(self, classes: list[str]) -> None:
        self.classes = tuple(classes)

    def __len__(self) -> int:
        return len(self.classes)

    def labels(self) -> NDArray[np.int64]:
        return np.arange(len(self.classes))


def test_classes_are_chosen_by_name_and_by_number(source: Source, part: Callable[..., str]) -> None:
    by_name = open_part(part(classes=["rectangle"]), source)
    assert by_name.indices.tolist() == [3, 4, 5]
    assert by_name.said.endswith("part.json): 3 of 6 pictures")
    assert open_part(part(classes=[1]), source).fingerprint == by_name.fingerprint


def test_rows_are_those_of_one_set(tmp_path: Path, source: Source) -> None:
    write_rows(tmp_path / "half.json", source, [4, 0], "two of them")
    assert open_part(str(tmp_path / "half.json"), source).indices.tolist() == [0, 4]
    write_pictures(tmp_path / "pictures", 8)
    with pytest.raises(UserError, match="is of another set, or the set has changed") as refused:
        open_part(str(tmp_path / "half.json"), open_source(str(tmp_path / "pictures")))
    assert open_source(str(tmp_path / "pictures")).fingerprint in refused.value.hint


def test_pictures_are_chosen_by_what_they_are_called(source: Source, part: Callable[..., str]) -> None:
    assert open_part(part(keys=["rectangle/001.png", "ellipse/002.png"]), source).indices.tolist() == [1, 3]
    with pytest.raises(UserError, match=r"is called 'ellipse/02.png'") as refused:
        open_part(part(keys=["ellipse/02.png"]), source)
    assert refused.value.hint == "did you mean 'ellipse/002.png'?"


@pytest.mark.parametrize(
    ("said", "complaint", "hint"),
    [
        ({"classes": ["rectangel"]}, "no class of .* is called 'rectangel'", "did you mean 'rectangle'?"),
        ({"classes": [2]}, "there is no class 2: 2 classes, counted from 0", ""),
        ({"classes": []}, "no picture of .* is in it", "let it name some"),
        ({"classes": "rectangle"}, "'classes' is no list", "it holds"),
        ({"classes": [["rectangle"]]}, "'classes' is no list of names or whole numbers", "it holds"),
        ({"rows": [0]}, "does not say of which set", "fingerprint"),
        ({"rows": [0], "keys": []}, "holds rows and keys at once", "it holds"),
        ({"clases": ["a"]}, "is no part of data", "it holds"),
        ({"classes": [0], "noote": "x"}, "unknown 'noote'", "did you mean 'note'?"),
    ],
)
def test_what_is_no_part_is_told_in_words(
    source: Source, part: Callable[..., str], said: dict[str, Any], complaint: str, hint: str
) -> None:
    with pytest.raises(UserError, match=f"data.part .*part.json: .*{complaint}") as refused:
        open_part(part(**said), source)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (6, "there is no row 6: 6 pictures, counted from 0"),
        (-1, "there is no row -1: 6 pictures, counted from 0"),
        ("x", "'rows' holds 'x', which is no row number"),
    ],
)
def test_rows_out_of_range_are_refused(
    source: Source, part: Callable[..., str], row: int | str, complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as refused:
        open_part(part(rows=[row], fingerprint=source.fingerprint), source)
    assert refused.value.hint == "row numbers go from 0 to 5"


def test_a_file_that_is_no_json_and_one_that_is_not_there_are_refused(source: Source, part: Callable[..., str]) -> None:
    with pytest.raises(UserError, match="is not JSON: Expecting"):
        open_part(part('{"classes": ["a",'), source)
    with pytest.raises(UserError, match="there is no file moce/imagenet-artefacts") as refused:
        open_part("moce/imagenet-artefacts", source)
    assert refused.value.hint == "did you mean 'moce/imagenet-artifacts'?"


def test_classes_of_a_set_without_labels_and_keys_of_a_table_are_refused(
    tmp_path: Path, source: Source, part: Callable[..., str]
) -> None:
    flat = open_source(str(tmp_path / "pictures" / "ellipse"))
    with pytest.raises(UserError, match="chooses classes, and there are no labels"):
        open_part(part(classes=["ellipse"]), flat)
    with pytest.raises(UserError, match="keys, and those of thousand have none"):
        open_part(part(keys=["a"]), Thousand(["x"]))


def imagenet(name: str) -> dict[str, Any]:
    """What a part that ships says."""
    return read_part(find_part(f"moce/imagenet-{name}"))


def synsets() -> list[str]:
    """All thousand synsets, sorted."""
    return sorted(imagenet("artifacts")["classes"] + imagenet("rest")["classes"])


@pytest.mark.parametrize(
    ("one", "other", "sizes"), [("artifacts", "rest", (522, 478)), ("organisms", "not-organisms", (410, 590))]
)
def test_the_halves_of_imagenet_are_disjoint_and_whole(one: str, other: str, sizes: tuple[int, int]) -> None:
    first, second = imagenet(one), imagenet(other)
    assert (len(first["classes"]), len(second["classes"])) == sizes
    assert sorted(first["numbers"] + second["numbers"]) == list(range(1000))
    every = synsets()
    for half in (first, second):
        assert [every[number] for number in half["numbers"]] == half["classes"]


def test_68_classes_are_neither_artifact_nor_organism_and_none_is_both() -> None:
    artifacts, organisms = set(imagenet("artifacts")["classes"]), set(imagenet("organisms")["classes"])
    assert len(set(synsets()) - artifacts - organisms) == 68
    assert not artifacts & organisms


def test_tench_is_of_the_rest_teapot_an_artifact_and_pizza_moves_with_the_rule() -> None:
    assert "n01440764" in imagenet("rest")["classes"]
    assert imagenet("rest")["numbers"][0] == 0
    assert "n04398044" in imagenet("artifacts")["classes"]
    assert "n07873807" in imagenet("rest")["classes"]
    assert "n07873807" in imagenet("not-organisms")["classes"]


def test_a_half_of_imagenet_goes_by_synsets_or_by_number_where_classes_are_words() -> None:
    by_name = open_part("moce/imagenet-artifacts", Thousand(synsets()))
    by_number = open_part("moce/imagenet-artifacts", Thousand([f"word {number}" for number in range(1000)]))
    assert len(by_name) == 522
    assert by_name.indices.tolist() == by_number.indices.tolist()


def test_of_a_hundred_classes_of_imagenet_those_of_the_half_are_taken_and_of_other_sets_none() -> None:
    hundred = open_part("moce/imagenet-artifacts", Thousand(synsets()[350:450]))
    assert hundred.said.endswith(f"{len(hundred)} of 100 pictures, in {len(hundred)} of its 522 classes")
    with pytest.raises(UserError, match="and there are 2 classes") as refused:
        open_part("moce/imagenet-artifacts", Thousand(["cat", "dog"]))
    assert refused.value.hint == "by number it fits sets of 1000 classes"


def test_parts_that_ship_are_found_by_name_and_are_no_recipes() -> None:
    names = {name for name in list_parts() if name.startswith("moce/imagenet-")}
    assert len(names) == 4
    assert not names & {recipe.name for recipe in list_recipes()}
    assert absolute_part("moce/imagenet-rest") == "moce/imagenet-rest"


def test_masks_of_a_part_are_those_of_its_pictures(tmp_path: Path, source: Source, part: Callable[..., str]) -> None:
    whole = open_masks(str(write_masks(tmp_path / "masks", tmp_path / "pictures")), source)
    some = open_part(part(classes=["rectangle"]), source)
    masks, size = PartOfMasks(whole, some), some.image(0).size
    assert np.array_equal(masks.mask(0, *size), whole.mask(3, *size))


def test_a_run_trains_on_a_part_from_any_folder_and_notices_that_it_changed(
    tmp_path: Path,
    tiny_recipe: Callable[..., Path],
    part: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    part(classes=["rectangle"])
    monkeypatch.chdir(tmp_path)
    recipe = str(tiny_recipe(data={"part": "part.json"}, train={"batch_size": 4}))
    assert run(["pretrain", recipe, "-o", "run"]) == 0
    assert "(part part.json): 12 of 24 pictures" in capsys.readouterr().err
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert (environment["data"]["samples"], environment["data"]["part"]) == (12, str(tmp_path / "part.json"))
    part(classes=["ellipse"])
    monkeypatch.chdir(os.sep)
    assert run(["pretrain", "--resume", str(tmp_path / "run")]) == 2
    assert "the data changed since this run began" in capsys.readouterr().err


def test_the_wheel_carries_the_parts(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert "sslcli/recipes/moce/imagenet-artifacts.json" in names
