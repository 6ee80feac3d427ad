"""The mathematics of the figures of any backbone; how they are drawn is in `figures/`."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.decomposition import PCA
from sslcli_figures import sslcli_figures
from sslcli_figures.figures.attention import entropies, telling, top_mass
from sslcli_figures.figures.curves import curves_of, in_order, steep, thinned
from sslcli_figures.figures.histograms import bins
from sslcli_figures.figures.neighbour_matrix import confusion, neighbours
from sslcli_figures.figures.neighbours import others
from sslcli_figures.figures.pca import coloured, foreground
from sslcli_figures.figures.spreads import class_distances, discriminant_ratios
from sslcli_figures.figures.vectors import members, several
from sslcli_figures.options import AttentionOptions, PcaOptions

from sslcli.errors import UserError

ROWS = torch.tensor([[0, 0], [2, 0], [10, 0], [10, 4], [0, 6], [0, 8], [3, 7]], dtype=torch.float32)
LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 2])


def test_eight_figures_are_offered() -> None:
    names = [offer.name for offer in sslcli_figures()]
    assert names[:3] == ["attention", "pca", "embedding"]
    assert len(names) == len(set(names)) == 8


def test_discriminant_ratios_are_those_worked_out_by_hand() -> None:
    sums, means = discriminant_ratios(ROWS, LABELS, [0, 1, 2])
    assert sums[~torch.eye(3, dtype=torch.bool)].tolist() == pytest.approx(
        [10.625, 6.125, 2.65625, 3.3125, 1.020833, 2.208333], abs=1e-6
    )
    assert means[~torch.eye(3, dtype=torch.bool)].tolist() == pytest.approx([42.5, 24.5, 10.625, 13.25, 9.1875, 19.875])
    assert means.diagonal().isnan().all()


def test_class_distances_are_those_worked_out_by_hand() -> None:
    by_members, _ = class_distances(ROWS, LABELS, [0, 1, 2])
    assert by_members.tolist() == pytest.approx([4.048610, 2.516660, 3.189642], abs=1e-6)


def test_distances_of_class_means_are_those_of_a_loop() -> None:
    _, by_centres = class_distances(ROWS, LABELS, [0, 1, 2])
    means = [ROWS[number == LABELS].mean(dim=0) for number in range(3)]
    apart = sum(math.dist(means[0].tolist(), means[other].tolist()) for other in (1, 2)) / 2
    assert by_centres[0].item() == pytest.approx(apart / 2)


def test_ratios_do_not_change_with_the_scale_of_the_vectors() -> None:
    for measure in (class_distances, discriminant_ratios):
        one, other = (measure(scale * ROWS, LABELS, [0, 1, 2])[1].nan_to_num() for scale in (1, 30))
        assert torch.allclose(one, other)


def test_the_matrix_of_neighbours_is_that_worked_out_by_hand() -> None:
    rows = torch.tensor([[0, 0], [0, 1], [1, 0], [5, 5], [5, 6], [1, 1.2]])
    owners = torch.tensor([0, 0, 0, 1, 1, 1])
    _, near = neighbours(rows, 1)
    assert near[:, 0].tolist() == [1, 0, 0, 4, 3, 1]
    assert confusion(owners, near, 2).flatten().tolist() == pytest.approx([1, 0, 1 / 3, 2 / 3])
    two = confusion(owners, neighbours(rows, 2)[1], 2)
    assert two.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 3, 2 / 3])


def test_the_kept_patches_are_the_fewest_that_hold_the_mass() -> None:
    shares = torch.rand(3, 2, 9, generator=torch.Generator().manual_seed(0))
    for row, kept in zip(shares.flatten(0, 1), top_mass(shares, 0.6).flatten(0, 1)):
        total, count = 0.0, 0
        while total < 0.6 * float(row.sum()):
            total, count = total + float(row.sort(descending=True).values[count]), count + 1
        assert int(kept.sum()) == count
        assert row[kept].min() > row[~kept].max()


def test_the_heads_that_are_shown_differ_most_from_the_mean_of_all() -> None:
    maps = torch.full((1, 4, 2, 2), 0.25)
    maps[0, 1] = torch.tensor([[0.9, 0.1], [0.0, 0.0]])
    maps[0, 3] = torch.tensor([[0.0, 0.0], [0.1, 0.9]])
    assert telling(maps, 2) == [1, 3]
    assert telling(maps, 9) == [0, 1, 2, 3]
    assert entropies(maps)[0, 0].item() == pytest.approx(math.log(4))


def test_colours_are_the_components_of_the_foreground_alone() -> None:
    rng = np.random.default_rng(0)
    table, inside = rng.normal(size=(60, 8)), rng.random(60) > 0.4
    colours, explained = coloured(table, inside)
    along = PCA(3).fit_transform(table[inside])[:, 0]
    assert abs(np.corrcoef(along, colours[inside][:, 0].astype(float))[0, 1]) > 0.99
    assert explained == pytest.approx(PCA(3).fit(table[inside]).explained_variance_ratio_)
    assert (colours[~inside] == 0xD9).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_foreground_is_what_lies_in_the_middle_of_the_pictures(sign: float) -> None:
    middle = np.zeros((2, 5, 5))
    middle[:, 1:4, 1:4] = sign
    table = middle.reshape(-1, 1) * np.ones((1, 6)) + 0.01 * np.random.default_rng(0).normal(size=(50, 6))
    assert (foreground(table, 2, (5, 5)) == (middle.reshape(-1) != 0)).all()


def test_no_picture_is_its_own_neighbour() -> None:
    found = torch.tensor([[4, 1, 2], [7, 0, 5]])
    cosines = torch.tensor([[1.0, 0.9, 0.8], [1.0, 1.0, 0.7]])
    near, rows = others(cosines, found, [4, 0])
    assert rows.tolist() == [[1, 2], [7, 5]]
    assert near.tolist() == [pytest.approx([0.9, 0.8]), pytest.approx([1.0, 0.7])]


def test_members_are_class_after_class_and_evenly_spread() -> None:
    labels = torch.tensor([0, 1] * 10)
    rows = members(labels, [1, 0], 5, seed=0)
    assert labels[rows].tolist() == [1] * 5 + [0] * 5
    assert rows == members(labels, [1, 0], 5, seed=0)


def test_classes_with_too_few_pictures_are_left_out_and_two_must_remain() -> None:
    assert several(torch.tensor([0, 0, 1, 2, 2]), [0, 1, 2], 2) == [0, 2]
    with pytest.raises(UserError, match="1 of 2 classes have 2 pictures"):
        several(torch.tensor([0, 0, 1]), [0, 1], 2)
    with pytest.raises(UserError, match="one class alone was chosen"):
        several(torch.tensor([0, 0, 1, 1]), [0], 2)


def test_what_was_trained_twice_counts_once_and_what_is_no_number_not_at_all() -> None:
    rows = [{"epoch": 1, "loss": 4.0}, {"epoch": 2, "loss": float("nan")}, {"epoch": 1, "loss": 3.0, "note": "x"}]
    curves = curves_of([*rows, {"epoch": 3, "loss": 2.0, "step": 9}])
    assert {name: curve.tolist() for name, curve in curves.items()} == {"loss": [[1.0, 3.0], [3.0, 2.0]]}


def test_the_curves_that_matter_most_come_first_and_copies_of_the_loss_do_not_come() -> None:
    rows = [{"epoch": n, "mae": n, "loss": n, "mae/error": 2 * n, "lr": 1 / n, "weight_decay": 0.1} for n in (1, 2)]
    assert in_order(curves_of(rows)) == ["loss", "lr", "mae/error"]


def test_long_curves_are_averaged_and_short_ones_left_as_they_are() -> None:
    curve = np.stack([np.arange(100.0), np.arange(100.0) ** 2], axis=1)
    assert thinned(curve, 100) is curve
    assert thinned(curve, 10)[0].tolist() == pytest.approx([4.5, 28.5])


def test_powers_are_for_steep_curves_but_never_for_rates() -> None:
    curve = np.array([[0.0, 100.0], [1.0, 1.0]])
    assert steep("loss", curve)
    assert not steep("lr", curve)
    assert not steep("loss", curve - [0.0, 1.0])


def test_bins_hold_every_value_also_when_all_are_the_same() -> None:
    for values, logarithmic in ((np.ones(5), False), (np.ones(5), True), (np.geomspace(0.01, 10, 500), True)):
        edges = bins(values, logarithmic)
        assert np.histogram(values, edges)[0].sum() == len(values)


@pytest.mark.parametrize("options", [AttentionOptions, PcaOptions])
def test_nobody_is_shown_a_picture_that_no_memory_holds(options: type[AttentionOptions | PcaOptions]) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 4096"):
        options(size=100_000)
