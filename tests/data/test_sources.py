"""Every data SPEC, opened for real on tiny sets; and what is said when one cannot be."""

import json
import logging
import os
import pickle
import tarfile
from io import BytesIO
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from sslcli.data.pictures import BrokenPicture
from sslcli.data.sources import open_source
from sslcli.errors import UserError

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """Nothing of a test lands in the caches of the person who runs it."""
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("SSLCLI_CACHE", str(folder / "sslcli"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(folder / "datasets"))


def picture(colour="red", form="PNG"):
    """A small picture of one colour, as the bytes of a file."""
    file = BytesIO()
    Image.new("RGB", (4, 4), COLOURS[colour]).save(file, form)
    return file.getvalue()


def put(root, *names):
    """Pictures under these names; the colour is that which the name mentions."""
    for name in names:
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(next((colour for colour in COLOURS if colour in name), "red")))
    return str(root)


def names_of(source):
    """File names in order."""
    return [Path(source.name(index)).name for index in range(len(source))]


def colour_of(source, index):
    """The first pixel of a picture."""
    return source.image(index).getpixel((0, 0))


def table(count=6, **columns):
    """A set with class labels as `datasets` knows it."""
    colours = [list(COLOURS)[index % 3] for index in range(count)]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(COLOURS))}
    data = {"image": [{"bytes": picture(c), "path": None} for c in colours], "label": [i % 3 for i in range(count)]}
    plain = datasets.Dataset.from_dict(data, features=datasets.Features(features))
    for name, values in columns.items():
        plain = plain.add_column(name, values)
    return plain


def shard(path, samples):
    """A WebDataset shard: key -> {ending: bytes}."""
    with tarfile.open(path, "w") as tar:
        for key, files in samples.items():
            for ending, data in files.items():
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size = len(data)
                tar.addfile(member, BytesIO(data))


# ---- folders


def test_a_flat_folder_has_pictures_and_no_labels(tmp_path):
    source = open_source(put(tmp_path, "b_blue.png", "a_green.png"))
    assert (names_of(source), source.labels(), source.classes) == (["a_green.png", "b_blue.png"], None, ())
    assert (colour_of(source, 0), colour_of(source, 1)) == (COLOURS["green"], COLOURS["blue"])


def test_class_folders_are_the_first_level_and_pictures_may_lie_deeper(tmp_path):
    source = open_source(put(tmp_path, "dog/x/y/1.png", "cat/2.png", "cat/z/3.png"))
    assert source.classes == ("cat", "dog")
    assert source.labels().tolist() == [0, 0, 1]
    assert source.labels().dtype == np.int64


def test_pictures_outside_of_class_folders_have_no_label(tmp_path):
    source = open_source(put(tmp_path, "cat/1.png", "stray.png"))
    assert source.labels().tolist() == [0, -1]


@pytest.mark.parametrize("name", ["a.JPG", "a.Jpeg", "a.webp", "a.BMP", "a.gif", "a.tiff", "a.TIF", "a.ppm"])
def test_endings_count_in_any_letter_case(tmp_path, name):
    assert names_of(open_source(put(tmp_path, name))) == [name]


def test_hidden_files_and_others_are_ignored_and_counted(tmp_path):
    put(tmp_path, "a.png", ".hidden.png", ".git/b.png", "notes.txt", "Thumbs.db", "no_ending")
    source = open_source(str(tmp_path))
    assert source.said == f"{tmp_path}: 1 picture (5 ignored: 2 hidden, 3 not pictures)"


def test_links_to_files_and_folders_are_followed(tmp_path):
    put(tmp_path / "elsewhere", "deep/green.png")
    put(tmp_path / "set", "a.png")
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "set/b.png").symlink_to(tmp_path / "elsewhere/deep/green.png")
    assert names_of(open_source(str(tmp_path / "set"))) == ["a.png", "b.png", "green.png"]


def test_links_in_a_circle_end(tmp_path):
    put(tmp_path, "cats/a.png")
    (tmp_path / "cats/again").symlink_to(tmp_path)
    assert names_of(open_source(str(tmp_path))) == ["a.png"]


def test_a_link_to_nothing_is_a_broken_picture(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(BrokenPicture, match=r"b\.png: no such file"):
        open_source(str(tmp_path)).image(1)


def test_a_pipe_named_like_a_picture_is_not_opened(tmp_path):
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    assert len(open_source(str(tmp_path))) == 1


def test_file_names_need_not_be_text(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(picture("blue"))
    source = open_source(str(tmp_path))
    assert colour_of(source, 0) == COLOURS["blue"]
    assert source.name(0) == f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}.png"


@pytest.mark.parametrize("other", ["test", "val", "valid", "validation", "Test"])
def test_the_train_folder_is_taken_where_there_is_one_to_test_on(tmp_path, other):
    put(tmp_path, "train/cat/1.png", f"{other}/dog/2.png", "extra/3.png")
    train, test = open_source(str(tmp_path)), open_source(f"{tmp_path}@{other}")
    assert (names_of(train), train.classes) == (["1.png"], ("cat",))
    assert (names_of(test), test.classes) == (["2.png"], ("dog",))


def test_val_and_validation_are_one_split_under_two_names(tmp_path):
    put(tmp_path, "train/1.png", "val/2.png")
    assert names_of(open_source(str(tmp_path), "validation")) == ["2.png"]


def test_a_train_folder_alone_is_opened_too(tmp_path):
    assert open_source(put(tmp_path, "train/cat/1.png")).classes == ("cat",)


def test_folders_named_like_splits_are_classes_where_there_is_no_train(tmp_path):
    assert open_source(put(tmp_path, "test/1.png", "val/2.png")).classes == ("test", "val")


def test_a_folder_may_have_an_at_in_its_name(tmp_path):
    assert len(open_source(put(tmp_path / "me@home", "1.png"))) == 1


def test_the_fingerprint_of_a_copy_is_the_same_and_of_a_change_is_not(tmp_path):
    here, there = put(tmp_path / "a", "x/1.png", "2.png"), put(tmp_path / "b", "x/1.png", "2.png")
    before = open_source(here).fingerprint
    assert open_source(there).fingerprint == before
    put(there, "3.png")
    assert open_source(there).fingerprint != before


def test_a_file_of_another_size_or_name_changes_the_fingerprint(tmp_path):
    root = put(tmp_path, "x/1.png", "2.png")
    found = {open_source(root).fingerprint}
    with open(tmp_path / "2.png", "ab") as file:
        file.write(b"more")
    found.add(open_source(root).fingerprint)
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    found.add(open_source(root).fingerprint)
    assert len(found) == 3


def test_equal_names_and_sizes_are_told_apart_by_what_is_in_them(tmp_path):
    for root, colour in (("a", "red"), ("b", "blue")):
        (tmp_path / root).mkdir()
        Image.new("RGB", (4, 4), colour).save(tmp_path / root / "1.bmp")
    assert open_source(str(tmp_path / "a")).fingerprint != open_source(str(tmp_path / "b")).fingerprint


def test_a_folder_source_is_small_when_pickled_and_works_after(tmp_path):
    source = open_source(put(tmp_path, *[f"{n:04d}_blue.png" for n in range(200)]))
    source.image(0)
    data = pickle.dumps(source)
    assert len(data) < 1500
    assert colour_of(pickle.loads(data), 199) == COLOURS["blue"]


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_pictures_over_the_limit_are_refused(tmp_path):
    source = open_source(put(tmp_path, "1.png"), max_megapixels=1e-5)
    with pytest.raises(BrokenPicture, match="more than 1e-05 megapixels"):
        source.image(0)


# ---- tables


def test_the_demo_set_has_its_pictures_classes_and_splits():
    train, test = open_source("demo"), open_source("demo@test")
    assert (len(train), len(test), len(train.classes)) == (2713, 961, 22)
    assert train.classes == test.classes
    assert sorted(set(test.labels().tolist())) == list(range(22))
    assert train.image(0).size == (48, 48)
    assert train.fingerprint != test.fingerprint


def test_parquet_of_datasets_keeps_its_class_names(tmp_path):
    table().to_parquet(tmp_path / "a.parquet")
    source = open_source(f"parquet:{tmp_path}/*.parquet")
    assert (source.classes, source.labels().tolist()) == (tuple(COLOURS), [0, 1, 2, 0, 1, 2])
    assert [colour_of(source, index) for index in range(3)] == list(COLOURS.values())


def test_parquet_files_named_after_splits_are_splits(tmp_path):
    table(4).to_parquet(tmp_path / "pets-train-00.parquet")
    table(5).to_parquet(tmp_path / "pets-train-01.parquet")
    table(3).to_parquet(tmp_path / "pets-test-00.parquet")
    spec = f"parquet:{tmp_path}/*.parquet"
    assert (len(open_source(spec)), len(open_source(spec, "test")), len(open_source(f"{spec}@test"))) == (9, 3, 3)


def test_a_parquet_file_that_belongs_to_no_split_is_not_guessed_at(tmp_path):
    for name in ("train", "test", "extra"):
        table(2).to_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match=r"extra\.parquet belongs to no split .* test, train"):
        open_source(f"parquet:{tmp_path}/*.parquet")


def test_plain_parquet_with_bytes_and_words_is_understood(tmp_path):
    columns = {"jpg": [picture(c) for c in COLOURS], "class": ["dog", "ant", "dog"]}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = open_source(f"parquet:{tmp_path}/a.parquet")
    assert (source.classes, source.labels().tolist()) == (("ant", "dog"), [1, 0, 1])
    assert colour_of(source, 2) == COLOURS["blue"]


def test_struct_columns_of_bytes_and_path_are_pictures(tmp_path):
    rows = [{"bytes": picture("blue"), "path": "a.png"}]
    parquet.write_table(pa.table({"img": rows, "id": [7]}), tmp_path / "a.parquet")
    source = open_source(f"parquet:{tmp_path}/a.parquet")
    assert (colour_of(source, 0), source.labels()) == (COLOURS["blue"], None)


def test_a_row_without_a_picture_is_broken_and_named(tmp_path):
    parquet.write_table(pa.table({"image": [picture(), None]}), tmp_path / "a.parquet")
    with pytest.raises(BrokenPicture, match=r"a\.parquet row 1: the row holds no picture"):
        open_source(f"parquet:{tmp_path}/a.parquet").image(1)


def test_rows_that_name_a_file_are_read_from_it(tmp_path):
    put(tmp_path, "green.png")
    rows = [{"bytes": None, "path": str(tmp_path / "green.png")}]
    named = datasets.Dataset.from_dict({"image": rows}, features=datasets.Features({"image": datasets.Image()}))
    named.save_to_disk(tmp_path / "saved")
    assert colour_of(open_source(f"disk:{tmp_path}/saved"), 0) == COLOURS["green"]


def test_labels_that_are_missing_are_minus_one(tmp_path):
    columns = {"image": [picture()] * 3, "label": [5, None, 3]}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    source = open_source(f"parquet:{tmp_path}/a.parquet")
    assert (source.classes, source.labels().tolist()) == (("3", "5"), [1, -1, 0])


def test_a_hidden_test_set_of_minus_ones_has_no_labels(tmp_path):
    hidden = table(2).remove_columns("label").add_column("label", [-1, -1])
    hidden.cast_column("label", datasets.ClassLabel(names=["a", "b"])).save_to_disk(tmp_path / "saved")
    assert open_source(f"disk:{tmp_path}/saved").labels() is None


def test_a_saved_set_is_opened_with_and_without_splits(tmp_path):
    table(4).save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=table(3), validation=table(2)).save_to_disk(tmp_path / "two")
    assert len(open_source(f"disk:{tmp_path}/one")) == 4
    assert (len(open_source(f"disk:{tmp_path}/two")), len(open_source(f"disk:{tmp_path}/two@val"))) == (3, 2)


def test_a_copy_of_a_saved_set_has_the_same_fingerprint(tmp_path):
    saved = table(4)
    saved.save_to_disk(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    before = open_source(f"disk:{tmp_path}/two").fingerprint
    (tmp_path / "two").rename(tmp_path / "three")
    assert open_source(f"disk:{tmp_path}/three").fingerprint == before


def test_a_table_source_is_small_when_pickled_and_works_after(tmp_path):
    table(300).save_to_disk(tmp_path / "saved")
    source = open_source(f"disk:{tmp_path}/saved")
    source.labels()
    data = pickle.dumps(source)
    assert len(data) < 12000
    assert colour_of(pickle.loads(data), 1) == COLOURS["green"]


def test_webdataset_shards_with_class_files(tmp_path):
    for n in range(3):
        samples = {f"s{n}{i}": {"jpg": picture(c, "JPEG"), "cls": str(i).encode()} for i, c in enumerate(COLOURS)}
        shard(tmp_path / f"train-{n:03d}.tar", samples)
    source = open_source(f"wds:{tmp_path}/train-{{000..001}}.tar")
    assert (len(source), source.labels().tolist(), source.classes) == (6, [0, 1, 2] * 2, ("0", "1", "2"))
    assert np.abs(np.subtract(colour_of(source, 5), COLOURS["blue"])).max() < 5


def test_webdataset_shards_with_labels_in_json(tmp_path):
    samples = {f"s{i}": {"png": picture(), "json": json.dumps({"label": w}).encode()} for i, w in enumerate("ba")}
    shard(tmp_path / "a.tar", samples)
    source = open_source(f"wds:{tmp_path}/a.tar")
    assert (source.classes, source.labels().tolist()) == (("a", "b"), [1, 0])


def test_a_local_set_is_opened_as_the_hub_would(tmp_path):
    table(4).to_parquet(tmp_path / "data" / "train-0.parquet")
    table(3).to_parquet(tmp_path / "data" / "test-0.parquet")
    source = open_source(f"hf:{tmp_path}@test")
    assert (len(source), source.classes) == (3, tuple(COLOURS))


def test_configs_of_a_hub_set_follow_a_second_colon(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("datasets.load_dataset", lambda *names: asked.append(names) or table(2))
    open_source("hf:someone/pets:small")
    open_source("hf:someone/pets")
    assert asked == [("someone/pets", "small"), ("someone/pets", None)]


# ---- columns


def test_labels_are_not_looked_for_until_somebody_asks(tmp_path):
    table(2, cls=[0, 1]).remove_columns("label").add_column("fine_label", [0, 1]).save_to_disk(tmp_path / "saved")
    source = open_source(f"disk:{tmp_path}/saved")
    with pytest.raises(UserError, match=r"several columns of labels in .*: cls, fine_label"):
        source.labels()


def test_the_column_named_label_wins_over_others(tmp_path):
    table(2, cls=[7, 8]).save_to_disk(tmp_path / "saved")
    assert open_source(f"disk:{tmp_path}/saved").classes == tuple(COLOURS)


def test_several_columns_of_pictures_are_named(tmp_path):
    columns = {"jpg": [picture()], "png": [picture()]}
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"several columns of pictures in .*: jpg, png"):
        open_source(f"parquet:{tmp_path}/a.parquet")


def test_a_table_without_pictures_names_its_columns(tmp_path):
    parquet.write_table(pa.table({"text": ["a"], "size": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"no column of pictures in .*; its columns are text, size"):
        open_source(f"parquet:{tmp_path}/a.parquet")


# ---- mistakes


def refused(spec, *parts):
    """The message and hint of a refused SPEC hold these parts."""
    with pytest.raises(UserError) as caught:
        open_source(spec)
    for part in parts:
        assert part in f"{caught.value.message} | {caught.value.hint}"


def test_an_empty_folder_is_refused_with_what_was_ignored(tmp_path):
    refused(str(tmp_path), "no pictures in", str(tmp_path))
    (tmp_path / "a.txt").write_text("hello")
    refused(str(tmp_path), "(1 ignored: 1 not pictures)", ".jpg")


@pytest.mark.parametrize(("name", "hint"), [("a.parquet", "'parquet:"), ("a.tar", "'wds:"), ("a.arrow", "'disk:")])
def test_a_folder_of_other_data_says_how_to_name_it(tmp_path, name, hint):
    (tmp_path / name).write_bytes(b"x")
    refused(str(tmp_path), "no pictures in", hint)


def test_a_missing_folder_is_refused_with_its_neighbour(tmp_path):
    put(tmp_path / "pictures", "1.png")
    refused(str(tmp_path / "picturs"), "no folder", "did you mean 'pictures'?")


@pytest.mark.parametrize(
    ("name", "hint"), [("a.png", "name the folder it lies in"), ("b.parquet", "'parquet:"), ("c.tar", "'wds:")]
)
def test_a_file_in_place_of_a_folder_is_refused_with_a_hint(tmp_path, name, hint):
    refused(put(tmp_path, name) + f"/{name}", "is a file", hint)


def test_an_unknown_scheme_is_refused_with_the_near_one():
    refused("parqet:data/*.parquet", "unknown scheme 'parqet'", "did you mean 'parquet'?")


def test_nothing_at_all_is_not_the_current_folder():
    refused("", "no data are named", "hf:NAME")


def test_a_missing_folder_is_not_asked_of_the_hub():
    refused("hf:./nowhere", "no folder ./nowhere, in hf:./nowhere")


def test_a_misspelt_demo_is_refused_with_the_right_one():
    refused("dmeo", "did you mean 'demo'?")


def test_what_looks_like_a_hub_name_is_told_the_scheme():
    refused("uoft-cs/cifar10", "hf:uoft-cs/cifar10")


@pytest.mark.parametrize("spec", ["parquet:", "hf:", "wds:", "disk:"])
def test_a_scheme_with_nothing_after_it_is_refused(spec):
    refused(spec, "nothing follows the colon")


def test_a_glob_without_match_says_what_is_there(tmp_path):
    put(tmp_path, "one.png")
    refused(f"parquet:{tmp_path}/*.parquet", "no file matches", "one.png")


def test_a_folder_as_a_glob_is_told_the_star(tmp_path):
    refused(f"wds:{tmp_path}", "no file matches", f"wds:{tmp_path}/*.tar")


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    put(tmp_path, "train/1.png", "val/2.png")
    refused(f"{tmp_path}@test", "no split 'test'", "train, val")
    refused("demo@validation", "no split 'validation' in demo", "test, train")


def test_a_split_of_what_is_not_divided_is_refused(tmp_path):
    refused(put(tmp_path, "1.png") + "@test", "it is not divided")


def test_a_damaged_parquet_file_is_the_users_to_mend(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("datasets"), "propagate", True)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    refused(f"parquet:{tmp_path}/a.parquet", "cannot read parquet:")
    assert not caplog.records  # datasets would log the same once more


def test_a_damaged_shard_is_the_users_to_mend(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"not a tar file" * 100)
    refused(f"wds:{tmp_path}/a.tar", "cannot read wds:")


def test_a_folder_that_datasets_did_not_save_is_refused(tmp_path):
    refused(f"disk:{tmp_path}", "cannot read disk:", "save_to_disk")
    refused(f"disk:{tmp_path}/gone", "no folder")


def test_no_network_is_said_with_a_way_out(monkeypatch):
    def unreachable(*_):
        raise ConnectionError("Couldn't reach 'someone/pets' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", unreachable)
    refused("hf:someone/pets", "cannot reach the Hub for hf:someone/pets", "check the network", "disk:PATH")


def test_an_empty_table_is_refused(monkeypatch):
    monkeypatch.setattr("datasets.load_dataset", lambda *_: table(3).select([]))
    refused("hf:someone/pets", "no pictures in hf:someone/pets: it has no rows")


def test_what_datasets_cannot_read_back_is_the_users_to_mend(tmp_path):
    table(3).select([]).save_to_disk(tmp_path / "saved")  # datasets cannot open a set that it saved without rows
    refused(f"disk:{tmp_path}/saved", "cannot read disk:")


def test_a_cache_that_cannot_be_written_names_the_setting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "file"))
    refused(put(tmp_path / "set", "1.png"), "cannot make the cache folder", "SSLCLI_CACHE")
