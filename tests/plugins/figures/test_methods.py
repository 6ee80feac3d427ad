"""The figures in the plugins of methods, drawn of tiny runs of theirs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sslcli_mae.figure import colours
from sslcli_mae.figure import draw as draw_rebuilt
from sslcli_mae.figure_options import RebuiltOptions
from sslcli_mixedae.figure_options import MixedAttentionOptions
from sslcli_mixedae.figures.mixed_attention import cells_of, middle
from sslcli_mixedae.figures.mixed_attention import draw as draw_mixed
from sslcli_moce.figure import draw as draw_routing
from sslcli_moce.figure_options import RoutingMapOptions
from sslcli_patchmix.figure import draw as draw_similarity
from sslcli_patchmix.figure import nearest_means
from sslcli_patchmix.figure_options import SimilarityFigureOptions

from sslcli.errors import UserError
from sslcli.evaluation.card import Card, normalise
from sslcli.evaluation.trial import Sets, Trial
from sslcli.nn import patchify

DECODER = {"decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}
MAE = [{"name": "mae", **DECODER}]
MIXED = {
    "views": {"mixed": {"augmentation": "mixedae.mix", "source": "global", "images": 4}},
    "loss": [{"name": "mixedae.reconstruction", **DECODER}],
}


@pytest.fixture
def four_classes(tmp_path: Path) -> Path:
    """Eight pictures of each of four colours."""
    rng = np.random.default_rng(0)
    for number, colour in enumerate(((200, 0, 0), (180, 20, 0), (0, 200, 0), (0, 0, 200))):
        folder = tmp_path / "colours" / f"colour{number}"
        folder.mkdir(parents=True)
        for place in range(8):
            noise = rng.integers(0, 30, (16, 16, 3))
            Image.fromarray((np.array(colour) + noise).astype(np.uint8)).save(folder / f"{place}.png")
    return tmp_path / "colours"


def trial_of(run: object, data: object) -> Trial:
    """A trial on one set for both parts."""
    return Trial(str(run), (Sets(train=str(data), test=str(data)),))


@pytest.mark.parametrize("normalised", [True, False])
def test_a_masked_autoencoder_is_seen_at_work(normalised: bool, make_run: Any, picture_folder: Path) -> None:
    run = make_run(loss=[{**MAE[0], "norm_pixels": normalised}])
    drawing = draw_rebuilt(RebuiltOptions(pictures=3), trial_of(run, picture_folder))
    assert drawing.numbers["hidden"] == 0.75
    assert ("right for free" in drawing.caption) == normalised
    assert drawing.numbers["error"] > 0


def test_another_share_of_patches_can_be_hidden_but_not_all(make_run: Any, picture_folder: Path) -> None:
    trial = trial_of(make_run(loss=MAE), picture_folder)
    assert draw_rebuilt(RebuiltOptions(mask_ratio=0.5), trial).numbers["hidden"] == 0.5
    with pytest.raises(UserError, match="leaves none or all of 16 patches"):
        draw_rebuilt(RebuiltOptions(mask_ratio=0.99), trial)


def test_patches_come_back_as_the_pixels_they_were() -> None:
    crops = torch.randint(0, 256, (2, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    card = Card(16)
    assert np.abs(colours(patchify(normalise(crops, card), 4), 4, card).astype(int) - crops.numpy()).max() <= 1


@pytest.mark.parametrize(
    ("draw", "options", "said"),
    [
        (draw_rebuilt, RebuiltOptions(), "was not trained with mae"),
        (draw_mixed, MixedAttentionOptions(), "was not trained with mixed pictures"),
        (draw_routing, RoutingMapOptions(), "is no mixture of experts"),
    ],
)
def test_runs_of_other_methods_are_refused(
    draw: Any, options: Any, said: str, make_run: Any, picture_folder: Path
) -> None:
    with pytest.raises(UserError, match=said):
        draw(options, trial_of(make_run(), picture_folder))


def test_what_the_losses_learned_is_in_runs_alone(picture_folder: Path) -> None:
    with pytest.raises(UserError, match="pixels has no checkpoint"):
        draw_rebuilt(RebuiltOptions(), trial_of("pixels", picture_folder))


def test_a_checkpoint_is_drawn_like_its_run(make_run: Any, picture_folder: Path) -> None:
    run = make_run(loss=MAE)
    files = [run, run / "checkpoints" / "step-00000001"]
    first, second = (draw_rebuilt(RebuiltOptions(), trial_of(file, picture_folder)).png() for file in files)
    assert first == second


def test_mixed_pictures_are_drawn_beside_the_whole_ones(make_run: Any, picture_folder: Path) -> None:
    drawing = draw_mixed(MixedAttentionOptions(pictures=2), trial_of(make_run(**MIXED), picture_folder))
    assert drawing.numbers["chance"] == 0.25
    assert len(drawing.numbers["right"]) == 2  # blocks
    assert drawing.numbers["patch"] == middle(16) == 10


def test_a_patch_that_no_picture_has_is_refused(make_run: Any, picture_folder: Path) -> None:
    with pytest.raises(UserError, match="--patch 16: a picture has 16 patches"):
        draw_mixed(MixedAttentionOptions(patch=16), trial_of(make_run(**MIXED), picture_folder))


def test_each_whole_picture_stands_beside_the_mixed_one_that_it_is_part_of() -> None:
    figure = np.zeros((4 * 8, 3 * 8, 3), np.uint8)
    figure[8:16, :8], figure[24:, 16:] = 50, 90  # second whole picture; keys of the second mixed one
    second = cells_of(figure, 8)[1]
    shades = [int(np.asarray(cell.picture).max()) for cell in second]
    assert shades == [50, 0, 0, 0, 0, 90]


def test_pixels_choose_the_classes_that_resemble_one(four_classes: Path) -> None:
    drawing = draw_similarity(SimilarityFigureOptions(classes=("colour0",)), trial_of("pixels", four_classes))
    (row,) = drawing.numbers["rows"]
    assert row["similar"][0] == "colour1"
    assert len(row["similarities"]) == 9
    assert nearest_means(torch.tensor([[0.0], [5.0], [1.0], [9.0]]), 0) == [2, 1]


def test_similarities_of_another_run_stand_beside_on_the_same_pictures(four_classes: Path) -> None:
    options = SimilarityFigureOptions(pictures=2, similar=("colour1", "colour2"), against="pixels", seed=1)
    for row in draw_similarity(options, trial_of("pixels", four_classes)).numbers["rows"]:
        assert row["against"] == row["similarities"]


def test_a_figure_of_similarity_needs_four_classes(picture_folder: Path) -> None:
    with pytest.raises(UserError, match="four classes"):
        draw_similarity(SimilarityFigureOptions(), trial_of("pixels", picture_folder))
    with pytest.raises(UserError, match="no class 'colour9'"):
        draw_similarity(SimilarityFigureOptions(classes=("colour9",)), trial_of("pixels", picture_folder))
