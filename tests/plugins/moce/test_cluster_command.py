"""`sslcli moce cluster`: what it writes, that it goes on where it was stopped, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sslcli_moce.clusters import read_clusters

from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.evaluation.card import Card, normalise, show
from sslcli.nn.encoders import TimmNetwork
from sslcli.nn.stored import save_backbone

ARGUMENTS = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 1, "num_heads": 2, "num_classes": 0}


@pytest.fixture
def pictures(tmp_path):
    """A dozen plain pictures in reds and a dozen in blues."""
    (tmp_path / "pictures").mkdir()
    for number in range(24):
        colour = (150 + 4 * number, 2 * number, 0) if number % 2 else (0, 2 * number, 150 + 4 * number)
        Image.new("RGB", (20, 16), colour).save(tmp_path / "pictures" / f"{number:02d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def backbone(tmp_path):
    """A small ViT at its random start, saved."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TimmNetwork.create("vit_tiny_patch16_224", **ARGUMENTS)
    save_backbone(tmp_path / "vit", network, {"image_size": 16, "crop_share": 1.0})
    return tmp_path / "vit"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Features in the folder of the test, in blocks of eight."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sslcli.evaluation.kept.BLOCK", 8)


def cluster(backbone, pictures, output, *more):
    command = ["moce", "cluster", str(backbone), "--data", str(pictures), "-o", str(output), "--clusters", "2"]
    return run([*command, *map(str, more)])


def test_everything_is_written_that_is_needed_later(backbone, pictures, tmp_path, capsys):
    assert cluster(backbone, pictures, tmp_path / "c", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    found = read_clusters(tmp_path / "c")
    assert said["sizes"] == found.sizes.tolist()
    assert sum(said["sizes"]) == 24
    assert said["balance"] <= 1e-3
    assert (found.manifest["data"], found.manifest["pool"]) == (f"{pictures}", "mean")
    assert (tmp_path / "c" / "sheet.png").is_file()
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        "clusters.json",
        "clusters.safetensors",
        "encoder",
        "sheet.png",
    ]


def test_timm_opens_the_encoder_and_its_features_are_those_that_were_clustered(backbone, pictures, tmp_path):
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    model = timm.create_model(f"local-dir:{tmp_path / 'c' / 'encoder'}", pretrained=True).eval()
    card = Card(**read_clusters(tmp_path / "c").manifest["card"])
    images = [show(Image.open(path), card) for path in sorted(pictures.iterdir())]
    with torch.no_grad():
        tokens = model.forward_features(normalise(torch.from_numpy(np.stack(images)), card))
    (kept,) = (tmp_path / "cache" / "features").glob("*/features.npy")
    torch.testing.assert_close(tokens[:, 1:].mean(dim=1), torch.from_numpy(np.load(kept)))


def test_reds_and_blues_are_told_apart(backbone, pictures, tmp_path):
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    ids = read_clusters(tmp_path / "c").ids
    assert (ids[::2] == ids[0]).all()
    assert (ids[1::2] == 1 - ids[0]).all()


def test_two_processes_give_the_same_clusters(backbone, pictures, tmp_path, capsys):
    assert cluster(backbone, pictures, tmp_path / "one") == 0
    assert cluster(backbone, pictures, tmp_path / "two", "--processes", 2, "--no-cache") == 0
    assert "extracting features of 24 pictures by 2 processes" in capsys.readouterr().err
    one, two = (read_clusters(tmp_path / name) for name in ("one", "two"))
    assert torch.equal(one.ids, two.ids)
    torch.testing.assert_close(one.centroids, two.centroids)


def test_features_that_are_there_are_not_made_again(backbone, pictures, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.commands.making.Making.write", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c") == 130
    assert "the features and all finished rounds are kept" in capsys.readouterr().err
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert "1 of 1 parts are in the cache" in capsys.readouterr().err


def interrupted(*_, **__):
    raise KeyboardInterrupt


def test_rounds_that_are_done_are_not_done_again(backbone, pictures, tmp_path, monkeypatch):
    assert cluster(backbone, pictures, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.clustering.finished", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c") == 130
    monkeypatch.setattr("sslcli_moce.clustering.next_round", interrupted)
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert torch.equal(read_clusters(tmp_path / "c").ids, read_clusters(tmp_path / "whole").ids)


def test_rounds_by_other_options_are_not_gone_on_with(backbone, pictures, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.clustering.finished", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c") == 130
    capsys.readouterr()
    assert cluster(backbone, pictures, tmp_path / "c", "--clusters", 3) == 0
    assert "choosing the first 3 centroids" in capsys.readouterr().err
    assert len(read_clusters(tmp_path / "c")) == 3


def test_nothing_is_kept_where_it_is_not_wanted(backbone, pictures, tmp_path, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.clustering.finished", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c", "--no-cache") == 130
    assert "error: interrupted: all finished rounds are kept" in capsys.readouterr().err
    assert cluster(backbone, pictures, tmp_path / "c", "--no-cache") == 0
    assert not (tmp_path / "cache" / "features").exists()


def test_finished_clusters_are_left_as_they_are(backbone, pictures, tmp_path, capsys, monkeypatch):
    assert cluster(backbone, pictures, tmp_path / "c", "--json") == 0
    first = capsys.readouterr().out
    monkeypatch.setattr("sslcli_moce.commands.making.Making.make", interrupted)
    assert cluster(backbone, pictures, tmp_path / "c", "--json") == 0
    told = capsys.readouterr()
    assert told.out == first
    assert "holds these clusters already" in told.err


def test_clusters_of_other_inputs_are_replaced_only_when_asked(backbone, pictures, tmp_path, capsys):
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert cluster(backbone, pictures, tmp_path / "c", "--pool", "cls") == 2
    assert "made otherwise: the backbone, or its pooling, differ" in capsys.readouterr().err
    (pictures / "00.png").unlink()
    assert cluster(backbone, pictures, tmp_path / "c") == 2
    assert "made otherwise: the pictures differ" in capsys.readouterr().err
    assert cluster(backbone, pictures, tmp_path / "c", "--again") == 0
    assert len(read_clusters(tmp_path / "c").ids) == 23


def test_while_clusters_are_replaced_the_former_ones_are_none(backbone, pictures, tmp_path, capsys, monkeypatch):
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.commands.making.Making.draw", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c", "--pool", "cls", "--again") == 130
    with pytest.raises(UserError, match="was never finished"):
        read_clusters(tmp_path / "c")
    assert cluster(backbone, pictures, tmp_path / "c", "--pool", "cls") == 0


def test_features_of_other_pictures_are_never_mixed_in(backbone, pictures, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("sslcli_moce.clustering.finished", interrupted)
        assert cluster(backbone, pictures, tmp_path / "c") == 130
    (pictures / "00.png").unlink()
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert len(read_clusters(tmp_path / "c").ids) == 23


def test_a_broken_picture_is_in_no_cluster_and_many_stop_the_command(backbone, pictures, tmp_path, capsys):
    (pictures / "05.png").write_bytes(b"no picture")
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert read_clusters(tmp_path / "c").ids.tolist().count(-1) == 1
    assert read_clusters(tmp_path / "c").ids[5] == -1
    (pictures / "06.png").write_bytes(b"no picture")
    assert cluster(backbone, pictures, tmp_path / "d") == 1
    assert "--broken-limit" in capsys.readouterr().err


def test_equal_pictures_are_shared_out_and_told_of(backbone, pictures, tmp_path, capsys):
    for path in pictures.iterdir():
        Image.new("RGB", (20, 16), "red").save(path)
    assert cluster(backbone, pictures, tmp_path / "c") == 0
    assert "warning: clusters have 0 to 24 pictures where 12 were meant" in capsys.readouterr().err
    assert read_clusters(tmp_path / "c").centroids.isfinite().all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--clusters", "25"), "25 clusters of 24 pictures"),
        (("--epsilon", "0"), "--epsilon 0 is not above 0"),
        (("--clusters", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(backbone, pictures, tmp_path, capsys, more, message):
    assert cluster(backbone, pictures, tmp_path / "c", *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_run_that_cannot_be_kept_beside_the_clusters_is_refused(pictures, tmp_path, capsys):
    assert cluster("pixels", pictures, tmp_path / "c") == 2
    assert "pixels is no backbone to keep beside the clusters" in capsys.readouterr().err


def test_a_folder_with_something_else_in_it_is_refused(backbone, pictures, tmp_path, capsys):
    assert cluster(backbone, pictures, pictures) == 2
    assert "nothing says that it holds clusters" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_whatever_stops_it_the_same_command_goes_on(backbone, tmp_path, number, expected):
    command = [sys.executable, "-m", "sslcli", "moce", "cluster", str(backbone), "--data", "demo", "-o", "c"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [*command, "--clusters", "64"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cache" / "features").glob("*/*.safetensors")):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(number)
    child.communicate(timeout=60)
    assert child.returncode == expected
    done = subprocess.run([*command, "--clusters", "64"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "of 2713 pictures of demo@train are there already" in done.stderr
    assert Path(tmp_path / "c" / "clusters.json").is_file()
