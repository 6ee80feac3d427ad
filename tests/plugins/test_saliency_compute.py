"""`sslcli saliency compute`: a mask for every picture, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sslcli_saliency.commands import line_of
from sslcli_saliency.computing import Tally

from sslcli.cli import run
from sslcli.cli.progress import Standing
from sslcli.data.masks import decode_mask


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pictures(tmp_path):
    """Six pictures of a red disc on green, 48 pixels wide and 40 high, in two folders."""
    for number in range(6):
        path = tmp_path / "pictures" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (48, 40), (30, 140, 60))
        ImageDraw.Draw(picture).ellipse((14 + number, 10, 34 + number, 30), fill=(220, 30, 30))
        picture.save(path)
    return tmp_path / "pictures"


def compute(pictures, masks, *more):
    return run(["saliency", "compute", str(pictures), "-o", str(masks), "--workers", "0", *map(str, more)])


def content(masks):
    return {str(path.relative_to(masks)): path.read_bytes() for path in sorted(masks.rglob("*.png"))}


def test_every_picture_has_the_mask_of_its_object(pictures, tmp_path, capsys):
    assert compute(pictures, tmp_path / "masks", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["pictures"], said["written"], said["whole"], said["broken"]) == (6, 6, 0, [])
    for number in range(6):
        mask = decode_mask((tmp_path / "masks" / f"{number % 2}" / f"{number}.png.png").read_bytes(), "")
        truth = np.asarray(Image.open(pictures / f"{number % 2}" / f"{number}.png"))[..., 0] > 100
        assert mask.shape == (40, 48)
        assert (mask & truth).sum() / (mask | truth).sum() > 0.75


def test_several_workers_write_the_same_files(pictures, tmp_path):
    assert compute(pictures, tmp_path / "one") == 0
    assert run(["saliency", "compute", str(pictures), "-o", str(tmp_path / "two"), "--workers", "2"]) == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_what_is_there_already_is_passed_over_and_made_again_when_asked(pictures, tmp_path, capsys):
    masks = tmp_path / "masks"
    assert compute(pictures, masks) == 0
    made = content(masks)
    kept, gone = masks / "0" / "0.png.png", masks / "1" / "1.png.png"
    gone.unlink()
    kept.write_bytes(b"of the user's own")
    capsys.readouterr()
    assert compute(pictures, masks, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["present"], said["written"], kept.read_bytes()) == (5, 1, b"of the user's own")
    assert compute(pictures, masks, "--again") == 0
    assert content(masks) == made


def test_masks_made_otherwise_are_not_mixed_with_others(pictures, tmp_path, capsys):
    masks = tmp_path / "masks"
    assert compute(pictures, masks) == 0
    assert compute(pictures, masks, "--threshold", 0.9, "--dilation", 0.1) == 2
    told = "holds masks made otherwise: --threshold was left out, now 0.9; --dilation was 0.015, now 0.1\n"
    assert told in capsys.readouterr().err
    (pictures / "0" / "0.png").unlink()
    assert compute(pictures, masks) == 2
    assert "its pictures changed since" in capsys.readouterr().err
    assert compute(pictures, masks, "--again") == 0


def test_masks_that_are_made_again_are_never_mixed_with_those_before(pictures, tmp_path, capsys):
    masks = tmp_path / "masks"
    assert compute(pictures, masks) == 0
    assert compute(pictures, masks, "--again", "--dilation", 0.2, "--limit", 2) == 0
    assert len(content(masks)) == 2
    capsys.readouterr()
    assert compute(pictures, masks, "--dilation", 0.2, "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == 4


def test_a_folder_with_something_else_in_it_is_refused(pictures, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "of.txt").write_text("words")
    assert compute(pictures, tmp_path / "full") == 2
    assert "is not empty, and nothing says that it holds masks" in capsys.readouterr().err


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_disk_that_takes_no_more_is_told_and_the_command_goes_on_later(pictures, tmp_path, capsys, workers):
    masks = tmp_path / "masks"
    assert compute(pictures, masks) == 0
    shutil.rmtree(masks / "1")
    (masks / "1").write_text("where a folder must be")
    assert run(["saliency", "compute", str(pictures), "-o", str(masks), "--workers", workers]) == 1
    assert f"error: cannot write {masks / '1'}" in capsys.readouterr().err
    (masks / "1").unlink()
    assert compute(pictures, masks) == 0
    assert len(content(masks)) == 6


def test_a_broken_picture_is_told_and_has_no_mask_and_many_stop_the_command(pictures, tmp_path, capsys):
    (pictures / "0" / "0.png").write_bytes(b"no picture")
    assert compute(pictures, tmp_path / "masks", "--json") == 0
    said = capsys.readouterr()
    assert f"warning: skipped a picture that cannot be read: {pictures / '0' / '0.png'}" in said.err
    assert json.loads(said.out)["written"] == 5
    (pictures / "0" / "2.png").write_bytes(b"no picture")
    assert compute(pictures, tmp_path / "others") == 1
    assert "--broken-limit = 0.01 allows 1" in capsys.readouterr().err


def test_a_picture_without_an_object_stays_whole_and_most_of_them_are_a_warning(tmp_path, capsys):
    (tmp_path / "plain").mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (90, 90, 90)).save(tmp_path / "plain" / f"{number}.png")
    assert compute(tmp_path / "plain", tmp_path / "masks") == 0
    assert "in 3 of 3 pictures no object was found, so they stay whole" in capsys.readouterr().err
    assert decode_mask((tmp_path / "masks" / "0.png.png").read_bytes(), "").all()


def test_a_few_pictures_can_be_tried_and_looked_at(pictures, tmp_path, capsys):
    assert compute(pictures, tmp_path / "masks", "--limit", 2, "--sheet", tmp_path / "deep" / "look.png") == 0
    assert "written    2" in capsys.readouterr().out
    assert len(content(tmp_path / "masks")) == 2
    assert Image.open(tmp_path / "deep" / "look.png").size[0] > 1000


@pytest.mark.parametrize("method", ["pca", "attention"])
def test_masks_come_from_a_backbone_of_ones_own(pictures, tmp_path, method, capsys):
    backbone = ["--method", method, "--backbone", "random:simclr/tiny"]
    assert compute(pictures, tmp_path / "masks", *backbone, "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == 6
    assert json.loads((tmp_path / "masks" / "masks.json").read_text())["method"].startswith(f"{method} of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "-o", "masks"], "no folder nowhere"),
        (["demo", "-o", "masks", "--method", "pca"], "--method pca needs a --backbone"),
        (["demo", "-o", "masks", "--backbone", "runs/x"], "--method classical takes no --backbone"),
        (["demo", "-o", "masks", "--method", "pca", "--backbone", "nowhere"], "there is no nowhere"),
        (["demo", "-o", "masks", "--method", "attention", "--backbone", "random:quickstart"], "has no CLS token"),
        (["demo", "-o", "masks", "--method", "pca", "--backbone", "pixels"], "pixels has no map of its pictures"),
        (["demo", "-o", "masks", "--sheet", "look.gif"], "--sheet look.gif is no PNG"),
        (["demo"], "missing option '--output'"),
    ],
)
def test_mistakes_are_told_with_exit_code_two(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(["saliency", "compute", *arguments, *(["--limit", "1"] if len(arguments) > 1 else [])]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "hint: " in said


def test_without_scikit_image_it_is_said_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sslcli_saliency.commands.find_spec", lambda name: None)
    assert run(["saliency", "compute", "demo", "-o", str(tmp_path / "masks")]) == 2
    assert "pip install 'sslcli[saliency]'" in capsys.readouterr().err


def test_without_a_terminal_it_is_told_now_and_then_in_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr("sslcli.cli.progress.SILENCE", 0.0)
    tally = Tally(10, present=4, began=time.monotonic())
    with Standing(10) as show:
        show(tally.done, line_of(tally))
    assert capsys.readouterr().err.startswith("4 of 10 masks, 0.0 a second")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_whatever_stops_it_the_same_command_goes_on(tmp_path, number, expected):
    command = [sys.executable, "-m", "sslcli", "saliency", "compute", "demo", "-o", "masks", "--limit", "60"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "masks").rglob("*.png"))) < 5:
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == expected, said
    assert number != signal.SIGINT or "the same command goes on from there" in said
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "masks are there already" in done.stderr
    assert len([decode_mask(data, "") for data in content(tmp_path / "masks").values()]) == 60
