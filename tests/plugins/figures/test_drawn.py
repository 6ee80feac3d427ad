"""The figures of any backbone, drawn of tiny runs, of pixels, and of pictures without labels."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sslcli_figures import sslcli_figures
from sslcli_figures.figures.neighbours import row_of, sides
from sslcli_figures.figures.vectors import fewer

from sslcli.errors import UserError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.style import RIGHT, WRONG
from sslcli.evaluation.trial import Sets, Trial
from sslcli.nn.encoders import TimmNetwork
from sslcli.nn.image_sizes import fitted
from sslcli.plugins import resolve

OFFERS = {offer.name: offer for offer in sslcli_figures()}
OF_LABELS = ("neighbour-matrix", "class-distances", "discriminant-ratio")


def draw(name: str, run: object, data: object = "", **options: Any) -> Drawing:
    """A figure of the plugin."""
    sets = (Sets(train=str(data), test=str(data)),) if data else ()
    drawing = resolve(OFFERS[name].code)(OFFERS[name].options(**options), Trial(str(run), sets))
    assert isinstance(drawing, Drawing)
    return drawing


@pytest.mark.parametrize("name", list(OFFERS))
def test_every_figure_is_drawn_of_a_run_that_is_still_trained(name: str, make_run: Any, picture_folder: Path) -> None:
    drawing = draw(name, make_run(), picture_folder)
    assert drawing.caption.endswith(".")
    assert drawing.numbers
    assert 1000 < len(drawing.png()) < 300_000


@pytest.mark.parametrize("name", ["embedding", "neighbours", *OF_LABELS])
def test_figures_of_vectors_are_drawn_of_pixels_twice_the_same(name: str, picture_folder: Path) -> None:
    first, second = (draw(name, "pixels", picture_folder).png() for _ in range(2))
    assert first == second


def test_no_figure_uses_up_global_chance(picture_folder: Path, make_run: Any) -> None:
    trial = Trial(str(make_run()), (Sets(train=str(picture_folder), test=str(picture_folder)),))
    assert trial.backbone  # building it draws its random start
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for offer in OFFERS.values():
        resolve(offer.code)(offer.options(), trial)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


@pytest.mark.parametrize("name", ["attention", "pca", "embedding", "neighbours"])
def test_pictures_without_labels_are_drawn(name: str, make_run: Any, unlabelled: Path) -> None:
    offer = OFFERS[name]
    drawing = resolve(offer.code)(offer.options(), Trial(str(make_run()), (Sets(str(unlabelled)),)))
    assert "frame" not in drawing.caption
    assert len(drawing.png()) > 1000


@pytest.mark.parametrize("name", OF_LABELS)
def test_figures_of_classes_ask_for_labels(name: str, unlabelled: Path) -> None:
    offer = OFFERS[name]
    with pytest.raises(UserError, match="no labels"):
        resolve(offer.code)(offer.options(), Trial("pixels", (Sets(str(unlabelled)),)))


@pytest.mark.parametrize("name", ["attention", "pca"])
def test_maps_need_a_backbone(name: str, picture_folder: Path) -> None:
    with pytest.raises(UserError, match="pixels has no backbone"):
        draw(name, "pixels", picture_folder)


def test_another_seed_shows_other_pictures(make_run: Any, picture_folder: Path) -> None:
    run = make_run()
    shown = [draw("pca", run, picture_folder, seed=seed).numbers["pictures"] for seed in range(4)]
    assert [len(names) for names in shown] == [6] * 4
    assert len({tuple(names) for names in shown}) > 1


def test_without_cls_attention_is_that_of_all_patches(make_run: Any, picture_folder: Path) -> None:
    run = make_run(backbone={"class_token": False})
    assert "there is no CLS token" in draw("attention", run, picture_folder).caption


def test_a_backbone_of_convolutions_has_no_attention_and_a_map_too_coarse(make_run: Any, picture_folder: Path) -> None:
    run = make_run(backbone={"name": "resnet", "model": "test_resnet"})
    with pytest.raises(UserError, match="no plain attention"):
        draw("attention", run, picture_folder)
    with pytest.raises(UserError, match="1 x 1 parts"):
        draw("pca", run, picture_folder)
    assert draw("pca", run, picture_folder, size=160).numbers["grid"] == [5, 5]


def test_larger_pictures_give_finer_maps_and_sizes_that_do_not_divide_are_refused(
    make_run: Any, picture_folder: Path
) -> None:
    run = make_run()
    assert draw("attention", run, picture_folder, size=64).numbers["grid"] == [8, 8]
    with pytest.raises(UserError, match="no images of 65 x 65 pixels"):
        draw("attention", run, picture_folder, size=65)


def test_a_network_of_timm_is_copied_for_another_size() -> None:
    network = TimmNetwork.create("vit_tiny_patch16_224", img_size=32, depth=1, embed_dim=32, num_heads=2, num_classes=0)
    other = fitted(network, (64, 64), hint="")
    assert other is not network
    assert other.features(torch.zeros(1, 3, 64, 64)).patches.shape == (1, 16, 32)
    assert network.features(torch.zeros(1, 3, 32, 32)).patches.shape == (1, 4, 32)


def test_another_run_is_measured_on_the_same_pictures(make_run: Any, picture_folder: Path) -> None:
    numbers = draw("class-distances", make_run(), picture_folder, against="pixels").numbers
    assert len(numbers) == 2
    assert all(set(found["classes"]) == {"ellipse", "rectangle"} for found in numbers.values())


def test_a_grid_of_pictures_has_a_mark_for_every_neighbour(picture_folder: Path) -> None:
    figure = draw("neighbour-matrix", "pixels", picture_folder, grid="pictures", k=3).image
    assert len(figure.axes[0].collections[0].get_offsets()) == 3 * 24


def test_neighbours_of_the_same_pictures_leave_out_the_picture_itself(picture_folder: Path) -> None:
    for row in draw("neighbours", "pixels", picture_folder, k=4).numbers["rows"]:
        assert row["asked"] not in row["neighbours"]
        assert len(row["neighbours"]) == 4


def test_the_frame_of_a_neighbour_says_whether_it_is_of_the_same_class(picture_folder: Path) -> None:
    trial = Trial("pixels", (Sets(train=str(picture_folder), test=str(picture_folder)),))
    asked, known, same = sides(trial)
    assert asked.labels is not None
    other = int((asked.labels != asked.labels[0]).nonzero()[0])
    own, right, wrong = row_of(asked, known, 0, [1, other], [0.5, 0.25])
    assert same
    assert (own.words, own.frame) == (asked.class_of(0), "")
    assert ((right.words, right.frame), (wrong.words, wrong.frame)) == (("0.500", RIGHT), ("0.250", WRONG))


def test_more_neighbours_than_pictures_are_refused(picture_folder: Path) -> None:
    for name in ("neighbours", "neighbour-matrix"):
        with pytest.raises(UserError, match="24 neighbours are more than there are"):
            draw(name, "pixels", picture_folder, k=24)


def test_a_plane_of_chosen_classes_has_a_point_for_each_of_their_pictures(picture_folder: Path) -> None:
    numbers = draw("embedding", "pixels", picture_folder, method="pca", classes=("ellipse",)).numbers
    assert numbers["classes"] == ["ellipse"] * len(numbers["points"]) == ["ellipse"] * 12


def test_umap_is_asked_for_by_name_where_it_is_missing(picture_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UserError, match="UMAP is not installed") as caught:
        draw("embedding", "pixels", picture_folder, method="umap")
    assert "pip install umap-learn" in caught.value.hint


def test_curves_need_the_folder_of_a_run_with_something_in_it(make_run: Any, picture_folder: Path) -> None:
    with pytest.raises(UserError, match="pixels is no run"):
        draw("curves", "pixels", picture_folder)
    run = make_run()
    (run / "metrics.jsonl").write_text('{"step": 1, "epo')
    with pytest.raises(UserError, match="nothing is in"):
        draw("curves", run)


def test_as_many_neighbours_are_hinted_at_as_there_are() -> None:
    assert [fewer(most) for most in (23, 2)] == ["ask for fewer, as in '--k 3'", "ask for fewer, as in '--k 2'"]
    assert fewer(0).startswith("name more pictures")
