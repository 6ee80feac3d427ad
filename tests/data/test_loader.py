"""The loader: the same views whatever the workers, and what it does about broken pictures, errors and signals."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from PIL import Image

from sslcli.api import Context, ViewShape
from sslcli.data.augmentation import ViewAugmentation
from sslcli.data.batch import Batch
from sslcli.data.crops import ResizedCrop
from sslcli.data.draws import group_generator
from sslcli.data.kept import KeptPictures
from sslcli.data.loader import Loader, automatic_workers, workers_of
from sslcli.data.photometric import Photometric
from sslcli.data.pictures import BrokenPicture
from sslcli.data.sampler import BatchPlan
from sslcli.data.settings import Cropping, Photometry
from sslcli.data.views import ViewReader
from sslcli.errors import RunError, UserError
from sslcli.recipe.tables import Data


class Options(Photometry, Cropping):
    """Cut and coloured."""


class Views(ViewAugmentation):
    """Crops with a coin that the group shares, and everything photometric on."""

    def __init__(self, size: int, crops: int) -> None:
        options = Options.model_validate({"size": size, "crops": crops, "jitter": 0.8, "blur": 0.5, "erase": 0.5})
        self.crop, self.photometric = ResizedCrop(options), Photometric(options, size, Context())

    def draw(self, rng, *, height, width, crop):
        cutting, colouring = (rng.random(part.numbers).tolist() for part in (self.crop, self.photometric))
        drawn = self.crop.draw(cutting, height=height, width=width, crop=crop)
        coin = group_generator(rng).random() < 0.5
        return {**drawn, **self.photometric.draw(colouring, crop), f"column.coin{self.crop.settings.size}": coin}

    def cut(self, image, draw):
        return self.crop.cut(image, draw)

    def finish(self, crops, draws):
        return self.photometric(crops, draws)


class Pictures:
    """Pictures of one colour each, some of them broken."""

    def __init__(self, count: int = 24, broken: Iterable[int] = (), error: Exception | None = None) -> None:
        self.count, self.broken, self.error, self.read = count, set(broken), error, []

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> Image.Image:
        self.read.append(index)
        if self.error is not None:
            raise self.error
        if index in self.broken:
            raise BrokenPicture(f"{index}.jpg", "truncated")
        rows, columns = np.mgrid[: 12 + index % 5, : 14 + index % 7]
        return Image.fromarray(np.stack([rows * 9, columns * 9, rows * 0 + index], 2).astype(np.uint8))


SHAPES = {"global": ViewShape(2, 8), "local": ViewShape(3, 6)}


def loader(pictures: Pictures, *, workers: int = 0, groups=("global", "local"), cache: bool = True, **plan) -> Loader:
    views = {name: Views(SHAPES[name].size, SHAPES[name].crops) for name in groups}
    data = Data(train="test", workers=workers, cache=cache)
    shapes = {name: SHAPES[name] for name in groups}
    return Loader(pictures, views, shapes, BatchPlan(len(pictures), 8, seed=5, **plan), seed=5, data=data)


def flat(batch: Batch) -> dict[str, torch.Tensor]:
    draws = {f"{group}.{name}": t for group, drawn in batch.draws.items() for name, t in drawn.items()}
    return {**batch.crops, **draws, **batch.columns}


def assert_equal(ours: Iterable[Batch], theirs: Iterable[Batch]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert flat(one).keys() == flat(other).keys()
        assert all(torch.equal(tensor, flat(other)[name]) for name, tensor in flat(one).items())


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_views_come_with_any_number_of_workers(workers):
    assert_equal(loader(Pictures()).batches(0, 7), loader(Pictures(), workers=workers).batches(0, 7))


def test_finished_views_are_bit_equal_with_workers():
    view = Views(8, 2)
    for one, other in zip(loader(Pictures()).batches(0, 4), loader(Pictures(), workers=2).batches(0, 4)):
        finished = [
            view.finish(b.crops["global"][0], {name: t[0] for name, t in b.draws["global"].items()})
            for b in (one, other)
        ]
        assert torch.equal(*finished)


def test_going_on_in_the_middle_equals_going_through():
    through = list(loader(Pictures(), workers=2).batches(0, 7))
    assert_equal(through[4:], loader(Pictures(), workers=1).batches(4, 7))


def test_another_view_group_changes_nothing_in_the_first():
    for alone, beside in zip(loader(Pictures(), groups=("global",)).batches(0, 3), loader(Pictures()).batches(0, 3)):
        assert torch.equal(alone.crops["global"], beside.crops["global"])
        assert torch.equal(alone.draws["global"]["jitter"], beside.draws["global"]["jitter"])


def test_two_processes_see_the_halves_of_what_one_sees():
    whole = loader(Pictures()).batches(0, 3)
    halves = [loader(Pictures(), rank=rank, world_size=2).batches(0, 3) for rank in (0, 1)]
    for batch, first, second in zip(whole, *halves):
        assert torch.equal(batch.crops["local"], torch.cat([first.crops["local"], second.crops["local"]], 1))


def test_a_batch_has_the_shapes_of_its_contract():
    batch = next(loader(Pictures()).batches(0, 1))
    assert batch.crops["local"].shape == (3, 8, 6, 6, 3)
    assert batch.crops["local"].dtype == torch.uint8
    assert batch.draws["local"]["jitter"].shape == (3, 8, 4)
    assert batch.columns["index"].dtype == batch.columns["epoch"].dtype == torch.int64
    assert set(batch.columns) == {"index", "epoch", "coin8", "coin6"}


def test_a_coin_of_the_group_is_the_same_for_its_crops_and_not_for_all_samples():
    reader = ViewReader(Pictures(), {"global": Views(8, 2)}, SHAPES, seed=0)
    coins = reader.read([(0, index) for index in range(20)]).columns["coin8"]
    assert 0 < coins.sum() < 20


def test_a_broken_picture_is_replaced_by_the_same_other_one_every_time():
    results = [list(loader(Pictures(broken={3, 9}), workers=w).batches(0, 3)) for w in (0, 2)]
    assert_equal(*results)
    assert {path for batch in results[0] for path, _ in batch.broken} == {"3.jpg", "9.jpg"}
    shown = torch.cat([batch.columns["index"] for batch in results[0]]).tolist()
    assert not {3, 9} & set(shown)
    assert len(shown) == 24


def test_a_set_in_which_nothing_can_be_read_is_an_error_and_not_a_loop():
    with pytest.raises(RunError, match="100 pictures in a row cannot be read"):
        next(loader(Pictures(broken=range(24))).batches(0, 1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_for_the_user_comes_through_from_a_worker_as_it_is(workers):
    pictures = Pictures(error=UserError("the folder changed", "start a new run"))
    with pytest.raises(UserError, match="the folder changed") as caught:
        next(loader(pictures, workers=workers).batches(0, 1))
    assert caught.value.hint == "start a new run"
    assert "Traceback" not in caught.value.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_workers_ignore_the_signals_of_the_main_process(number):
    before = set(multiprocessing.active_children())
    batches = loader(Pictures(), workers=2).batches(0, 6)
    received = [next(batches)]
    for child in set(multiprocessing.active_children()) - before:
        os.kill(child.pid, number)
    received.extend(batches)
    assert_equal(received, loader(Pictures()).batches(0, 6))


def test_a_run_that_ends_while_its_workers_wait_leaves_at_once():
    script = """
import numpy, PIL.Image
from sslcli.api import Context, ViewShape
from sslcli.data.loader import Loader
from sslcli.data.sampler import BatchPlan
from sslcli.recipe.tables import Data
from sslcli_multicrop.augmentation import Multicrop
from sslcli_multicrop.options import MulticropOptions

class Pictures(list):
    def image(self, index):
        return PIL.Image.new("RGB", (9, 9))

view = Multicrop(MulticropOptions(size=8), Context())
plan = BatchPlan(8, 2, seed=0)
loader = Loader(Pictures(range(8)), {"v": view}, {"v": ViewShape(1, 8)}, plan, seed=0, data=Data(train="x", workers=2))
batches = loader.batches(0, 1000)
next(batches)
raise SystemExit(7)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == 7


def test_a_killed_worker_is_an_error_that_says_what_to_do():
    before = set(multiprocessing.active_children())
    batches = loader(Pictures(), workers=1).batches(0, 1000)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(RunError, match="a loader worker was killed") as caught:
        list(batches)
    assert "data.workers" in caught.value.hint


def test_loading_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader(Pictures(), workers=1).batches(0, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_kept_pictures_change_nothing():
    kept, fresh = Pictures(), Pictures()
    assert_equal(loader(kept).batches(0, 9), loader(fresh, cache=False).batches(0, 9))
    assert len(kept.read) == 24
    assert len(fresh.read) == 72


def test_pictures_are_kept_only_where_the_whole_set_would_fit():
    pictures = Pictures(count=10)
    kept = KeptPictures(pictures, megabytes=9 * 12 * 14 * 4 / 1e6)
    assert all(kept.image(0) for _ in range(3))
    assert pictures.read == [0, 0, 0]


def test_two_groups_cannot_say_different_things_in_one_column():
    views = {"a": Views(8, 1), "b": Views(8, 1)}
    reader = ViewReader(Pictures(), views, {"a": ViewShape(1, 8), "b": ViewShape(1, 8)}, seed=0)
    with pytest.raises(RunError, match=r"views\.b gives the column 'coin8'"):
        reader.read([(0, 0)])


def test_the_number_of_workers_follows_the_cores_of_this_process(monkeypatch):
    assert workers_of(3, 1, accelerator=False) == 3
    assert [automatic_workers(cores, accelerator=True) for cores in (0, 1, 2, 8, 64)] == [1, 1, 1, 7, 16]
    assert [automatic_workers(cores, accelerator=False) for cores in (1, 2, 8, 96)] == [0, 0, 2, 16]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert workers_of("auto", 2, accelerator=True) == 3
