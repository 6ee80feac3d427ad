"""`sslcli eval video` on rectangles that move."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from sslcli_dense.clips import objects_in, open_clips
from sslcli_dense.evaluations.video import Followed, results_of
from sslcli_dense.example import write_clip, write_clips

from sslcli.cli import run
from sslcli.errors import UserError


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """Two videos of five frames; leave it as it is."""
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def trained(hardly_trained, picture_folder):
    """A run with patches of 4 pixels."""
    return hardly_trained(picture_folder, backbone={"patch_size": 4})


def test_rectangles_of_their_own_colour_are_followed(trained, clip_folder, capsys):
    capsys.readouterr()
    assert run(["eval", "video", str(trained), "--data", str(clip_folder), "--json", "--no-save"]) == 0
    report = json.loads(capsys.readouterr().out)
    every, *videos = report["results"]
    assert [row["video"] for row in videos] == ["a", "b"]
    assert (every["objects"], every["frames"]) == (4, 6)  # the first frames are given, the last left out
    assert every["j"] > 0.6
    assert every["j_and_f"] == pytest.approx((every["j"] + every["f"]) / 2)


def test_the_last_frame_counts_where_it_is_wanted(clip_folder):
    clips, said = open_clips(str(clip_folder), "", last=False)
    assert said.endswith(": 2 videos, 10 frames")
    assert (clips[0].judged(last=False), clips[0].judged(last=True)) == ([1, 2, 3], [1, 2, 3, 4])


def test_davis_is_read_with_its_list(tmp_path):
    for name in ("bear", "cows", "dog"):
        write_clip(tmp_path / "JPEGImages/480p" / name, tmp_path / "Annotations/480p" / name, count=3)
    lists = tmp_path / "ImageSets/2017"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("dog\nbear\n")
    (lists / "train.txt").write_text("cow\n")
    clips, said = open_clips(str(tmp_path), "", last=False)
    assert [clip.name for clip in clips] == ["dog", "bear"]
    assert "(val)" in said
    with pytest.raises(UserError, match="names 'cow', which is not in") as caught:
        open_clips(str(tmp_path), "train", last=False)
    assert "cows" in caught.value.hint
    with pytest.raises(UserError, match="no list 'test'"):
        open_clips(str(tmp_path), "test", last=False)


def test_a_label_of_black_and_white_shows_one_object(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(file)
    assert objects_in(file).tolist() == [[0, 1]]
    Image.fromarray(np.array([[0, 255, 2]], np.uint8)).save(file)
    assert objects_in(file).tolist() == [[0, 255, 2]]


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("labels/a/00000.png", "the first frame of 'a' has no label"),
        ("labels/a", "the first frame of 'a' has no label"),
        ("frames", "no folder of videos in"),
    ],
)
def test_what_is_missing_is_told(gone, message, clip_folder, tmp_path):
    data = shutil.copytree(clip_folder, tmp_path / "set")
    shutil.rmtree(data / gone) if (data / gone).is_dir() else (data / gone).unlink()
    with pytest.raises(UserError, match=message):
        open_clips(str(data), "", last=False)


def test_a_video_with_nothing_to_judge_is_refused(clip_folder, tmp_path):
    data = shutil.copytree(clip_folder, tmp_path / "set")
    for number in (1, 2, 3):
        (data / "labels" / "b" / f"{number:05}.png").unlink()
    with pytest.raises(UserError, match="nothing to judge in 1 of 2 videos, such as 'b'"):
        open_clips(str(data), "", last=False)
    assert len(open_clips(str(data), "", last=True)[0]) == 2


def test_a_broken_frame_stops_with_its_name(trained, clip_folder, tmp_path, capsys):
    data = shutil.copytree(clip_folder, tmp_path / "set")
    (data / "frames" / "a" / "00002.jpg").write_bytes(b"nothing")
    assert run(["eval", "video", str(trained), "--data", str(data), "--no-save"]) == 1
    assert "00002.jpg: not a picture" in capsys.readouterr().err


def test_the_mean_is_over_objects_and_its_interval_over_videos():
    followed = [Followed("a", {"j": [1.0, 0.5], "f": [1.0, 0.0]}, 3), Followed("b", {"j": [0.0], "f": [0.5]}, 4)]
    every, first, second = results_of(followed, seed=0)
    assert (every["j"], every["f"], every["frames"]) == (0.5, 0.5, 7)
    assert (first["j"], second["j"]) == (0.75, 0.0)
    assert every["j_interval"] == pytest.approx([0.0, 0.75])
    assert "j_interval" not in results_of(followed[:1], seed=0)[0]
