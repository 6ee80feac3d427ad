"""Where the pictures come from that a backbone is judged on."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sslcli.data.judged import open_judged, stratified
from sslcli.data.sources import open_source
from sslcli.data.subset import Subset
from sslcli.errors import UserError


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """Nothing of a test lands in the caches of the person who runs it."""
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("SSLCLI_CACHE", str(folder / "sslcli"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "datasets"))


def pets(root, **counts):
    """Class folders with so many pictures each; the size of a picture tells its number."""
    for name, count in counts.items():
        for number in range(count):
            path = Path(root) / name / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (number + 1, 1)).save(path)
    return str(root)


def refused(*parts, **specs):
    """The message and hint of refused SPECs hold these parts."""
    with pytest.raises(UserError) as caught:
        open_judged(**specs)
    for part in parts:
        assert part in f"{caught.value.message} | {caught.value.hint}"


def named(source):
    """Class names of the pictures, in order."""
    return [source.classes[number] for number in source.labels()]


def test_the_demo_set_is_judged_on_its_own_splits():
    judged = open_judged("demo")
    assert (len(judged.train), len(judged.test), len(judged.classes)) == (2713, 961, 22)
    assert judged.said == "classes learnt from demo@train (2713 pictures), tested on demo@test (961 pictures)"


@pytest.mark.parametrize("split", ["test", "val", "validation"])
def test_a_folder_is_judged_on_its_own_splits(tmp_path, split):
    pets(tmp_path / "train", cat=3, dog=2)
    pets(tmp_path / split, cat=1, dog=1)
    judged = open_judged(str(tmp_path))
    assert (named(judged.train), named(judged.test)) == (["cat"] * 3 + ["dog"] * 2, ["cat", "dog"])


def test_test_comes_before_validation(tmp_path):
    for split, count in {"train": 2, "val": 3, "test": 4}.items():
        pets(tmp_path / split, cat=count, dog=count)
    assert len(open_judged(str(tmp_path)).test) == 8


def test_a_test_split_without_labels_is_passed_over_and_said(tmp_path):
    pets(tmp_path / "train", cat=2, dog=2)
    pets(tmp_path / "val", cat=1, dog=1)
    pets(tmp_path, test=5)
    judged = open_judged(str(tmp_path))
    assert len(judged.test) == 2
    assert judged.said.endswith("; the split 'test' has no labels")


def test_a_fifth_is_held_out_where_there_is_no_test_split(tmp_path):
    judged = open_judged(pets(tmp_path, cat=10, dog=5, ant=1))
    assert named(judged.test) == ["cat"] * 2 + ["dog"]
    assert named(judged.train) == ["ant"] + ["cat"] * 8 + ["dog"] * 4
    assert "no test split" in judged.said
    assert "(3 of 16 pictures, seed 0)" in judged.said


def test_what_is_held_out_is_not_trained_on_and_depends_on_the_seed(tmp_path):
    root = pets(tmp_path, cat=20, dog=20)
    first, again, other = (open_judged(root, seed=seed) for seed in (3, 3, 4))
    tested = [{judged.test.name(i) for i in range(len(judged.test))} for judged in (first, again, other)]
    assert tested[0] == tested[1] != tested[2]
    assert not tested[0] & {first.train.name(i) for i in range(len(first.train))}


def test_a_split_named_in_the_spec_is_divided_itself(tmp_path):
    pets(tmp_path / "train", cat=2, dog=2)
    pets(tmp_path / "test", cat=5, dog=5)
    judged = open_judged(f"{tmp_path}@test")
    assert (len(judged.train), len(judged.test)) == (8, 2)
    assert f"no test split in {tmp_path}@test" in judged.said


def test_held_out_pictures_are_those_of_the_source(tmp_path):
    source = open_source(pets(tmp_path, cat=6, dog=1))
    part = Subset(source, np.array([4, 2]), "two")
    assert [part.image(i).width for i in range(2)] == [5, 3]
    assert [Path(part.name(i)).name for i in range(2)] == ["004.png", "002.png"]
    assert part.labels().tolist() == [0, 0]
    assert part.fingerprint not in {source.fingerprint, Subset(source, np.array([2, 4]), "two").fingerprint}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 9))
def test_a_fifth_of_every_class_is_held_out(labels, seed):
    labels = np.array(labels)
    held = stratified(labels, seed)
    for number in set(labels.tolist()):
        members = [kept for label, kept in zip(labels, held) if label == number]
        expected = 0 if len(members) == 1 else max(1, round(len(members) / 5))
        assert sum(members) == expected


def test_two_specs_agree_by_class_name(tmp_path):
    train, test = pets(tmp_path / "a", ant=2, cat=2, dog=2), pets(tmp_path / "b", dog=1, cat=3)
    judged = open_judged(train=train, test=test)
    assert judged.test.classes == ("ant", "cat", "dog")
    assert judged.test.labels().tolist() == [1, 1, 1, 2]
    assert judged.test.image(2).width == 3


def test_two_specs_use_the_splits_of_their_roles(tmp_path):
    judged = open_judged(train="demo", test="demo")
    assert (judged.train.spec, judged.test.spec) == ("demo@train", "demo@test")
    assert len(open_judged(train="demo@test", test="demo@train").train) == 961


def test_a_class_that_was_not_trained_on_is_refused(tmp_path):
    train, test = pets(tmp_path / "a", cat=2, dog=2), pets(tmp_path / "b", cat=1, dogs=1)
    refused("class 'dogs'", "is not in", "did you mean 'dog'?", train=train, test=test)


def test_class_names_that_no_test_picture_has_do_not_matter(tmp_path):
    def saved(name, classes, labels):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})
        data = {"image": [Image.new("L", (2, 2))] * len(labels), "label": labels}
        datasets.Dataset.from_dict(data, features=features).save_to_disk(tmp_path / name)
        return f"disk:{tmp_path / name}"

    judged = open_judged(train=saved("a", ["x", "y"], [0, 1]), test=saved("b", ["new", "y", "x"], [1, 2]))
    assert judged.test.labels().tolist() == [1, 0]


def test_the_same_pictures_twice_are_said_to_prove_nothing(tmp_path):
    root = pets(tmp_path, cat=2, dog=2)
    assert "the same pictures" in open_judged(train=root, test=root).said


@pytest.mark.parametrize(
    "specs", [{}, {"train": "demo"}, {"test": "demo"}, {"data": "demo", "train": "a", "test": "b"}]
)
def test_an_unclear_choice_is_refused(specs):
    refused("either --data SPEC, or both", **specs)


def test_pictures_without_labels_are_refused(tmp_path):
    pets(tmp_path, cats=3)
    refused("no labels in", "a folder for each", data=f"{tmp_path}/cats")


def test_a_picture_outside_of_the_class_folders_is_named(tmp_path):
    pets(tmp_path, cat=2, dog=2)
    Image.new("L", (1, 1)).save(tmp_path / "stray.png")
    refused("1 of 5 pictures", "have no label", "stray.png", data=str(tmp_path))


def test_a_single_class_is_refused(tmp_path):
    refused("of one class", data=pets(tmp_path, cat=5))


def test_too_few_pictures_to_hold_some_out_are_refused(tmp_path):
    refused("too few pictures", "--train and --test", data=pets(tmp_path, cat=1, dog=1))
