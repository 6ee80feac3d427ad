"""Patterns to files, and file names to splits."""

from pathlib import Path

import pytest

from sslcli.data.files import by_split, expanded, files_of, split_of
from sslcli.data.splits import role_of
from sslcli.errors import UserError


def test_ranges_are_written_out_with_their_zeros():
    assert expanded("s-{098..101}.tar") == ["s-098.tar", "s-099.tar", "s-100.tar", "s-101.tar"]
    assert expanded("{0..1}/{2..3}") == ["0/2", "0/3", "1/2", "1/3"]


def test_files_are_sorted_and_found_at_any_depth(tmp_path):
    for name in ("b.tar", "deep/er/a.tar", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = files_of(f"{tmp_path}/**/*.tar", "wds:…")
    assert [str(file.relative_to(tmp_path)) for file in found] == ["b.tar", "deep/er/a.tar"]


def test_a_file_that_is_named_outright_may_have_any_name(tmp_path):
    (tmp_path / "a[1].tar").write_text("")
    assert files_of(f"{tmp_path}/a[1].tar", "wds:…") == [tmp_path / "a[1].tar"]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00001-of-00002.parquet", "train"),
        ("pets_val.tar", "validation"),
        ("Test.parquet", "test"),
        ("x/valid/000.tar", "validation"),
        ("trains.parquet", None),
        ("contest.parquet", None),
        ("test_project/pictures.parquet", None),
    ],
)
def test_the_split_is_a_word_of_the_file_name_or_its_folder(name, split):
    assert split_of(Path("/data") / name) == split


def test_files_that_are_all_of_one_split_are_not_divided():
    files = [Path("train-0.parquet"), Path("train-1.parquet")]
    assert by_split(files, "parquet:…") == {"": files}


def test_files_with_a_split_and_files_without_are_not_mixed():
    with pytest.raises(UserError, match=r"other\.parquet belongs to no split"):
        by_split([Path("other.parquet"), Path("test.parquet"), Path("train.parquet")], "parquet:…")


def test_custom_names_have_one_role():
    assert {role_of(name) for name in ("val", "valid", "validation", "dev", "VAL")} == {"validation"}
    assert role_of("extra") is None
