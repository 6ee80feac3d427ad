"""`health`: measures that read no labels, of the right pictures and views, and what looks wrong in words."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sslcli_health.clusters import cluster, learnt
from sslcli_health.dimension import neighbour_ratios, two_nn
from sslcli_health.evaluations.health import judge
from sslcli_health.evaluations.rows import Looked, between, left_out, rows_of
from sslcli_health.options import HealthOptions
from torch import Tensor

from sslcli.cli import run
from sslcli.evaluation.trial import Sets, Trial
from sslcli.testing.pictures import draw_picture

FEW = HealthOptions(view_pictures=6, views=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers in 64 bits."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def told(features: Tensor, views: Tensor | None = None) -> dict[str, dict[str, Any]]:
    """The rows of features, by measure."""
    return {row["measure"]: row for row in rows_of(Looked(features, views, clusters=4, seed=0))}


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """`asked(run, *flags)`: what `sslcli eval health` prints as JSON."""

    def ask(*arguments: object) -> dict[str, Any]:
        capsys.readouterr()
        small = ["--view-pictures", "6", "--views", "3", "--json"]
        assert run(["eval", "health", *map(str, arguments), *small]) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return ask


def test_the_nearest_picture_before_it_guesses_the_cluster_of_each() -> None:
    features, labels = drawn(30, 4), torch.arange(30) % 3
    found = learnt(features, labels, seed=5)
    order = [int(place) for place in np.random.default_rng(5).permutation(30)]
    rows = features / features.norm(dim=1, keepdim=True)
    for place in range(1, 30):
        before = order[:place]
        nearest = min(before, key=lambda other: float((rows[other] - rows[order[place]]).square().sum()))
        assert found[place - 1] == (labels[nearest] == labels[order[place]])


def test_clusters_that_lie_apart_are_learnt_after_one_picture_of_each() -> None:
    features = torch.eye(5, dtype=torch.float64).repeat(20, 1) + 0.01 * drawn(100, 5)
    right = learnt(features, cluster(features, 5, seed=0), seed=0)
    assert int((~right).sum()) == 4  # the first of each cluster but the very first picture


def test_the_ratios_are_those_of_the_two_nearest_and_twins_have_none() -> None:
    features = drawn(12, 3)
    features[1] = 2 * features[0]
    rows = (features / features.norm(dim=1, keepdim=True)).tolist()
    loop = []
    for row in rows:
        first, second = sorted(math.dist(row, other) for other in rows if other is not row)[:2]
        loop += [second / first] if first > 1e-7 else []
    assert len(loop) == 10
    assert neighbour_ratios(features).tolist() == pytest.approx(loop, rel=1e-5)


def test_the_dimension_is_the_slope_of_the_smallest_nine_tenths() -> None:
    ratios = 1 + drawn(50).abs()
    smallest = enumerate(sorted(ratios.tolist())[:45], start=1)
    points = [(math.log(ratio), -math.log(1 - place / 50)) for place, ratio in smallest]
    assert two_nn(ratios) == pytest.approx(sum(x * y for x, y in points) / sum(x * x for x, _ in points))


@pytest.mark.parametrize("dimension", [2, 5])
def test_the_dimension_of_a_sphere_is_found_in_many_channels(dimension: int) -> None:
    sphere = drawn(2000, dimension + 1) @ torch.linalg.qr(drawn(40, dimension + 1, seed=1)).Q.T
    assert two_nn(neighbour_ratios(sphere)) == pytest.approx(dimension, rel=0.1)


def test_the_distance_between_pictures_is_that_of_all_pairs_of_their_views() -> None:
    views = drawn(4, 3, 5)
    unit = views / views.norm(dim=2, keepdim=True)
    pairs = [
        float((unit[a, i] - unit[b, j]).square().sum())
        for a in range(4) for b in range(4) for i in range(3) for j in range(3) if a != b
    ]  # fmt: skip
    assert between(views) == pytest.approx(sum(pairs) / len(pairs))


def test_leaving_out_tenths_of_a_mean_gives_its_usual_interval() -> None:
    numbers = drawn(2000)
    low, high = left_out(lambda some: some.mean().item(), numbers, numbers.mean().item()) or (0.0, 0.0)
    assert (high - low) / 2 == pytest.approx(2.262 * numbers.std().item() / 2000**0.5, rel=0.5)


def test_healthy_features_have_nothing_said_of_them_and_intervals_around_their_numbers() -> None:
    views = drawn(64, 1, 16) + 0.1 * drawn(64, 4, 16, seed=1)
    rows = told(drawn(400, 16) / torch.arange(1, 17).sqrt(), views)
    assert [row["measure"] for row in rows.values() if row["says"]] == []
    for row in rows.values():
        low, high = row["value_interval"]
        assert low <= row["value"] <= high


def test_features_that_are_all_alike_are_called_collapsed() -> None:
    rows = told(torch.ones(40, 8), torch.ones(10, 3, 8))
    assert rows["spread"]["says"] == "collapse: all pictures get nearly the same vector"
    assert (rows["intrinsic dimension"]["value"], rows["cluster learnability"]["value"]) == (None, None)
    assert rows["alignment"]["says"] == ""


def test_features_along_a_line_are_called_collapsed() -> None:
    line = torch.linspace(-1, 1, 40)[:, None] * torch.eye(8)[0] + torch.eye(8)[1]
    assert told(line)["effective rank"]["says"] == "collapse: vectors vary along one direction only"


def test_few_of_many_directions_are_a_dimensional_collapse() -> None:
    flat = drawn(200, 4) @ drawn(4, 64, seed=1)
    assert "dimensional collapse: about 4 of 64 directions" in told(flat)["effective rank"]["says"]


def test_a_large_common_part_is_said_of_rankme() -> None:
    assert "what all have in common" in told(drawn(200, 32) + 300.0)["RankMe"]["says"]


def test_a_steep_spectrum_is_said_of_alpha() -> None:
    assert told(drawn(300, 30) / torch.arange(1, 31).square())["alpha-ReQ"]["says"].startswith("steep")


def test_views_that_differ_as_much_as_pictures_do_are_said_of_alignment() -> None:
    assert "hardly closer" in told(drawn(40, 8), drawn(20, 3, 8))["alignment"]["says"]


def test_wide_features_have_no_interval_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslcli_health.evaluations.rows.WIDEST", 15)
    rows = told(drawn(60, 16))
    assert rows["RankMe"]["value_interval"] is None
    assert rows["uniformity"]["value_interval"] is not None


def test_pictures_without_labels_are_looked_at(picture_folder: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in picture_folder.rglob("*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    report = judge(FEW, Trial("pixels", (Sets(str(flat)),)))
    assert report.facts["pictures"] == 24
    assert report.facts["views"] == "3 of each of 6 pictures: resized crop and flip"
    assert {"RankMe", "LiDAR", "alignment"} <= {row["measure"] for row in report.results}


def test_a_run_is_looked_at_on_the_part_that_it_trained_on(
    tmp_path: Path, tiny_recipe: Callable[..., Path], asked: Callable[..., dict[str, Any]]
) -> None:
    part = tmp_path / "part.json"
    part.write_text(json.dumps({"classes": ["ellipse"]}))
    report = asked(f"random:{tiny_recipe(data={'part': str(part)}, train={'batch_size': 4})}")
    assert report["pictures"] == 12
    assert "views.global of its recipe, by multicrop" in report["views"]


def test_baselines_see_the_pictures_and_the_views_of_the_run_not_those_of_its_probe(
    tmp_path: Path, picture_folder: Path, tiny_recipe: Callable[..., Path], asked: Callable[..., dict[str, Any]]
) -> None:
    probe = {"train": str(picture_folder), "test": str(picture_folder), "every_epochs": 9, "k": [1]}
    trained = tmp_path / "run"
    assert run(["pretrain", str(tiny_recipe(probe=probe)), "--output", str(trained)]) == 0
    report = asked(trained, "--baselines")
    others = report["baselines"]
    assert [other["run"] for other in others] == [f"random:{trained}", "pixels"]
    assert {(other["data"], other["views"]) for other in others} == {(report["data"], report["views"])}
    assert list((trained / "evaluations").glob("health-*.json"))


def test_no_more_pictures_than_asked_are_looked_at_and_no_views_when_none_are_wanted(picture_folder: Path) -> None:
    report = judge(HealthOptions(pictures=10, view_pictures=0), Trial("pixels", (Sets(str(picture_folder)),)))
    assert report.facts["pictures"] == 10
    assert "views" not in report.facts
    assert "LiDAR" not in {row["measure"] for row in report.results}


def test_the_seed_alone_decides_what_is_drawn(tiny_recipe: Callable[..., Path]) -> None:
    trial = Trial(f"random:{tiny_recipe()}")
    assert trial.subject.said  # built now: that seeds the generator
    before = torch.random.get_rng_state()
    first, again, other = (judge(FEW.model_copy(update={"seed": seed}), trial).results for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_picture_that_cannot_be_read_is_left_out(picture_folder: Path, tmp_path: Path) -> None:
    for path in picture_folder.rglob("*.png"):
        (tmp_path / "some").mkdir(exist_ok=True)
        (tmp_path / "some" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "some" / "000.png").write_bytes(b"no picture")
    report = judge(HealthOptions(view_pictures=40, views=2), Trial("pixels", (Sets(str(tmp_path / "some")),)))
    assert report.facts["pictures"] == 23
    assert report.facts["views"].startswith("2 of each of 23 pictures")


def test_fewer_than_eight_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        draw_picture(number, "ellipse").save(tmp_path / f"{number}.png")
    assert run(["eval", "health", "pixels", "--data", str(tmp_path)]) == 2
    assert "has 3 that can be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pixels"], "which pictures to look at is not said"),
        (["pixels", "--train", "demo", "--test", "demo"], "health looks at one set"),
        (["pixels", "--data", "nowhere"], "no folder nowhere"),
        (["pixels", "--data", "demo", "--views", "1"], "--views 1"),
        (["pixels", "--data", "demo", "--pictures", "3"], "--pictures 3"),
        (["pixels", "--data", "demo", "--view-pictures", "1"], "must be 0, or at least 2"),
    ],
)
def test_mistakes_cost_exit_code_2_and_a_line_that_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "health", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_no_interval_goes_beyond_what_its_measure_can_be() -> None:
    sides = torch.tensor([1.0] * 12 + [-1.0] * 8)[:, None] * torch.eye(4)[0]  # a spread of sqrt(0.96), of twenty only
    spread = told(sides)["spread"]
    assert spread["value"] == pytest.approx(0.96**0.5)
    assert spread["value_interval"][1] == 1.0
