"""Masks beside the data: where they lie, which are of use, and what is said of those that are not."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from sslcli.data.masks import (
    BrokenMask,
    checked,
    decode_mask,
    mask_file,
    open_masks,
    usable,
    without_background,
    write_mask,
)
from sslcli.data.sources import open_source
from sslcli.errors import UserError
from sslcli.testing.pictures import write_masks, write_pictures


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    return open_source(str(write_pictures(tmp_path / "pictures", 6)))


@pytest.fixture
def folder(tmp_path, source):
    return write_masks(tmp_path / "masks", tmp_path / "pictures")


def half(height=8, width=6):
    """A mask whose left half is the object."""
    return np.tile(np.arange(width) < width // 2, (height, 1))


def saved(table, path):
    """A parquet file of a table of `datasets`, as the SPEC that opens it."""
    table.to_parquet(str(path))
    return open_source(f"parquet:{path}")


def test_a_mask_is_read_back_as_it_was_written_with_one_bit_a_pixel(tmp_path):
    write_mask(tmp_path / "deep" / "a.jpg.png", half())
    data = (tmp_path / "deep" / "a.jpg.png").read_bytes()
    assert Image.open(tmp_path / "deep" / "a.jpg.png").mode == "1"
    assert np.array_equal(decode_mask(data, "a"), half())


def test_a_picture_finds_its_mask_under_its_whole_name_or_with_its_ending_replaced(folder, source):
    masks, size = open_masks(str(folder), source), source.image(0).size
    first = masks.mask(0, *size)
    written = mask_file(folder, source.key(0))
    written.rename(written.with_name(written.name.replace(".png.png", ".png")))
    assert np.array_equal(masks.mask(0, *size), first)


def test_it_is_said_how_many_pictures_have_a_mask(folder, source):
    assert open_masks(str(folder), source).said == f"masks: {folder}, for 6 of 6 pictures"
    mask_file(folder, source.key(2)).unlink()
    assert open_masks(str(folder), source).said.endswith("for 5 of 6 pictures; the others are shown whole")


def test_a_picture_without_a_mask_has_none(folder, source):
    mask_file(folder, source.key(2)).unlink()
    assert open_masks(str(folder), source).mask(2, *source.image(2).size) is None


def test_a_folder_that_holds_no_mask_of_the_pictures_is_refused_with_the_name_that_was_looked_for(tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no picture of .* has a mask") as caught:
        open_masks(str(tmp_path / "empty"), source)
    assert str(mask_file(tmp_path / "empty", source.key(0))) in caught.value.message
    assert "sslcli saliency compute" in caught.value.hint


def test_a_folder_that_is_not_there_is_refused(source):
    with pytest.raises(UserError, match="no folder of masks nowhere"):
        open_masks("nowhere", source)


@pytest.mark.parametrize(("share", "use"), [(0.0, False), (0.0099, False), (0.01, True), (0.95, True), (0.96, False)])
def test_a_mask_of_next_to_nothing_or_next_to_everything_is_of_no_use(share, use):
    mask = (np.arange(10_000) < round(share * 10_000)).reshape(100, 100)
    assert usable(mask) is use
    assert (checked(mask, "m", 50, 50) is not None) is use


def test_a_mask_of_another_shape_is_refused_with_both_sizes():
    with pytest.raises(BrokenMask, match="it is 6x8 and the picture 80x60"):
        checked(half(8, 6), "m", 80, 60)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (375, 501), (17, 40)])
def test_a_smaller_mask_of_the_same_shape_fits_however_its_sides_were_rounded(size):
    width, height = size
    scale = 16 / min(size)
    assert checked(half(round(height * scale), round(width * scale)), "m", width, height) is not None


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n cut short"])
def test_a_file_that_is_no_picture_is_a_broken_mask_with_its_path(folder, source, content):
    mask_file(folder, source.key(1)).write_bytes(content)
    with pytest.raises(BrokenMask, match=str(mask_file(folder, source.key(1)))) as broken:
        open_masks(str(folder), source).mask(1, *source.image(1).size)
    assert "object at 0x" not in broken.value.reason


def test_masks_called_by_rows_are_refused_for_another_table(tmp_path):
    import datasets

    pictures = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in range(3)]
    ours = saved(
        datasets.Dataset.from_dict({"image": pictures}, datasets.Features(image=datasets.Image())),
        tmp_path / "a.parquet",
    )
    write_mask(mask_file(tmp_path / "masks", ours.key(0)), half(8, 8))
    (tmp_path / "masks" / "masks.json").write_text(json.dumps({"data": "parquet:b", "fingerprint": "other"}))
    with pytest.raises(UserError, match="were made for other data: parquet:b"):
        open_masks(str(tmp_path / "masks"), ours)
    (tmp_path / "masks" / "masks.json").write_text(json.dumps({"data": ours.spec, "fingerprint": ours.fingerprint}))
    assert open_masks(str(tmp_path / "masks"), ours).mask(0, 8, 8) is not None


def test_masks_can_be_sent_to_loader_workers_and_know_when_they_changed(folder, source):
    masks = open_masks(str(folder), source)
    assert pickle.loads(pickle.dumps(masks)).fingerprint == masks.fingerprint
    write_mask(mask_file(folder, source.key(0)), half())
    assert open_masks(str(folder), source).fingerprint != masks.fingerprint


def test_the_demo_pictures_have_masks_of_their_own():
    source = open_source("demo")
    masks = open_masks("demo", source)
    found = [masks.mask(index, *source.image(index).size) for index in range(0, len(source), 97)]
    assert sum(mask is not None for mask in found) > 0.8 * len(found)
    assert all(mask.shape == (48, 48) for mask in found if mask is not None)


def test_the_masks_of_the_demo_pictures_are_no_masks_for_other_pictures_and_that_is_a_warning(source):
    masks = open_masks("demo", source)
    assert masks.said.startswith("warning: masks: demo has none for ")
    assert masks.mask(0, 8, 8) is None


def test_the_background_takes_one_colour_and_the_object_stays():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8))
    shown = np.asarray(without_background(picture, half(16, 12), (1, 2, 3)))
    assert np.array_equal(shown[:, :6], np.asarray(picture)[:, :6])
    assert (shown[:, 6:] == (1, 2, 3)).all()


def test_a_mask_that_is_true_everywhere_changes_nothing():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8))
    assert np.array_equal(
        np.asarray(without_background(picture, np.ones((4, 3), bool), (9, 9, 9))), np.asarray(picture)
    )


def test_a_smaller_mask_is_stretched_over_the_picture():
    shown = np.asarray(without_background(Image.new("RGB", (60, 80), (255, 255, 255)), half(8, 6), (0, 0, 0)))
    assert (shown[:, :29] == 255).all()
    assert (shown[:, 31:] == 0).all()
