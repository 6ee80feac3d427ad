"""The methods that find objects: small pictures whose answers are known, and equations written out as loops."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage")

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2lab
from sslcli_saliency.absorption import SHARPNESS, absorbed_time, likeness
from sslcli_saliency.background import (
    background_probability,
    background_weighted_contrast,
    border_connectivity,
    optimised,
    robust_background,
)
from sslcli_saliency.colour import lab_of
from sslcli_saliency.cutting import around_half, cheapest_cut, colour_posterior, joint, object_patches
from sslcli_saliency.cutting import likeness as likeness_of_neighbours
from sslcli_saliency.estimation import ESTIMATORS, Settings, estimate, levelled, pixels_of
from sslcli_saliency.geodesic import geodesic_saliency
from sslcli_saliency.guided import guided
from sslcli_saliency.maps import otsu, resized, stretched
from sslcli_saliency.plain import object_on_plain_ground, ring
from sslcli_saliency.reconstruction import components, reconstruction_error
from sslcli_saliency.refinement import refined, widened, without_crumbs
from sslcli_saliency.spectral import spectral_residual
from sslcli_saliency.superpixels import DIFFERENT, described, superpixels_of

from sslcli.data.masks import usable

SQUARES = np.arange(25).reshape(5, 5).repeat(4, axis=0).repeat(4, axis=1)  # labels of 5 x 5 patches of 4 x 4 pixels
MIDDLE = 12  # the patch in the middle


def patches_of(*lightness):
    """5 x 5 patches, the nine inner ones of the lightness given, the border black."""
    values = np.zeros((5, 5))
    values[1:4, 1:4] = np.resize(lightness, 9).reshape(3, 3)
    lab = np.zeros((20, 20, 3))
    lab[..., 0] = values.ravel()[SQUARES]
    return described(SQUARES, lab)


def disc(ground, colour=(220, 40, 30), size=(96, 72)):
    """A disc on a ground of one colour, or of noise around it; and where the disc is."""
    chance = np.random.default_rng(0)
    pixels = np.clip(np.array(ground) + chance.normal(0, 14, (size[1], size[0], 1)), 0, 255).astype(np.uint8)
    picture, shape = Image.fromarray(pixels), Image.new("1", size)
    for drawn, fill in ((picture, colour), (shape, 1)):
        ImageDraw.Draw(drawn).ellipse((30, 20, 66, 56), fill=fill)
    return picture, np.asarray(shape)


def overlap(mask, truth):
    return (mask & truth).sum() / (mask | truth).sum()


# colour and superpixels


def test_cielab_is_that_of_scikit_image():
    levels = np.random.default_rng(0).integers(0, 256, (6, 7, 3))
    picture = (levels / 255).astype(np.float32)
    assert np.allclose(lab_of(picture), rgb2lab(picture), atol=0.02)


def test_superpixels_know_size_colour_place_neighbours_and_border():
    patches = patches_of(50.0)
    assert patches.sizes.tolist() == [16.0] * 25
    assert patches.colours[MIDDLE].tolist() == [50.0, 0.0, 0.0]
    assert patches.centres[MIDDLE].tolist() == [9.5 / 20, 9.5 / 20]
    assert np.flatnonzero(patches.neighbours[MIDDLE]).tolist() == [7, 11, 13, 17]
    assert np.flatnonzero(~patches.border).tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]


def test_a_contrast_is_that_of_cielab_while_small_and_never_more_than_different():
    colours = patches_of(0.5, 90.0).contrasts
    assert colours[0, 6] == pytest.approx(0.5, rel=0.02)
    assert colours[0, 7] == pytest.approx(DIFFERENT, rel=0.01)


def test_the_shortest_ways_are_those_of_a_plain_search():
    patches = patches_of(*np.random.default_rng(0).uniform(0, 20, 9))
    step = np.maximum(patches.contrasts - patches.usual_step, 0)
    joined = patches.neighbours | np.outer(patches.border, patches.border)
    lengths = np.where(joined, step, np.inf)
    np.fill_diagonal(lengths, 0.0)
    for over in range(25):
        for start in range(25):
            for end in range(25):
                lengths[start, end] = min(lengths[start, end], lengths[start, over] + lengths[over, end])
    assert np.allclose(patches.ways, lengths, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (3, 2), (40, 30)])
def test_pictures_of_any_size_have_superpixels_that_cover_them(size):
    patches = superpixels_of(lab_of(np.random.default_rng(0).random((*size, 3)).astype(np.float32)), 250)
    assert patches.labels.shape == size
    assert patches.sizes.sum() == size[0] * size[1]


# the methods


def test_border_connectivity_of_one_colour_is_the_border_by_the_root_of_the_area():
    assert np.allclose(border_connectivity(patches_of(0.0)), 16 / 5)  # 16 of 25 patches are on the border


def test_a_patch_of_a_colour_of_its_own_has_no_border_and_is_no_background():
    connectivity = border_connectivity(patches_of(0, 0, 0, 0, 90, 0, 0, 0, 0))
    assert background_probability(connectivity)[MIDDLE] < 0.5
    assert background_probability(connectivity)[0] > 0.9


def test_background_weighted_contrast_is_its_sum_written_out():
    patches = patches_of(0, 30, 0, 10, 90, 0, 0, 0, 5)
    background = np.linspace(0, 1, 25)
    expected = sum(
        patches.contrasts[MIDDLE, other]
        * np.exp(-sum((patches.centres[MIDDLE] - patches.centres[other]) ** 2) / (2 * 0.25**2))
        * background[other]
        for other in range(25)
    )
    assert background_weighted_contrast(patches, background)[MIDDLE] == pytest.approx(expected)


def test_the_optimised_values_are_at_the_minimum_of_their_cost():
    patches, chance = patches_of(0, 30, 0, 10, 90, 0, 0, 0, 5), np.random.default_rng(0)
    background, foreground = chance.random(25), chance.random(25)
    weights = np.where(patches.neighbours, np.exp(-(patches.contrasts**2) / (2 * 7.0**2)) + 0.1, 0)

    def cost(values):
        apart = (weights * (values[:, None] - values) ** 2).sum() / 2
        return (5 * background * values**2 + foreground * (values - 1) ** 2).sum() + apart

    found = optimised(patches, background, foreground)
    assert all(cost(found) < cost(found + chance.normal(0, 0.01, 25)) for _ in range(20))


def test_the_time_of_absorption_is_the_mean_of_walks_counted_step_by_step(monkeypatch):
    monkeypatch.setattr("sslcli_saliency.absorption.SHARPNESS", 2.0)  # walks of some hundred steps
    patches = patches_of(0, 0, 0, 0, 30, 0, 0, 0, 0)
    weights = likeness(patches) + np.eye(25)
    total = weights.sum(axis=1) + weights[:, patches.border].sum(axis=1)
    there, expected = np.eye(25), np.zeros(25)  # shares of walks that are not absorbed, by start and by place
    for _ in range(2000):
        expected += there.sum(axis=1)
        there = there @ (weights / total[:, None])
    assert np.allclose(absorbed_time(patches), expected)
    assert absorbed_time(patches).argmax() == MIDDLE


def test_likeness_reaches_the_neighbours_of_neighbours_and_all_of_the_border():
    weights = likeness(patches_of(0, 0, 0, 0, 30, 0, 0, 0, 0))
    assert weights[0, 24] == 1.0
    assert weights[MIDDLE, 11] == pytest.approx(np.exp(-SHARPNESS))
    assert weights[MIDDLE, 10] > 0
    assert weights[MIDDLE, 0] == weights[MIDDLE, MIDDLE] == 0


def test_geodesic_saliency_counts_a_faint_object_on_a_plain_ground_like_a_strong_one():
    faint, strong = (geodesic_saliency(patches_of(0, 0, 0, 0, value, 0, 0, 0, 0))[MIDDLE] for value in (12.0, 90.0))
    assert faint > 0.99
    assert strong > 0.99
    assert np.allclose(geodesic_saliency(patches_of(0.0)), 0, atol=1e-6)


def test_the_reconstruction_error_is_that_of_projections_one_by_one():
    patches = patches_of(0, 30, 0, 10, 90, 0, 0, 0, 5)
    described_by = np.hstack([patches.colours / 100, patches.centres])
    mean = described_by[patches.border].mean(axis=0)
    basis = components(described_by[patches.border] - mean)
    for number, found in enumerate(reconstruction_error(patches)):
        rebuilt = mean.copy()
        for direction in basis.T:
            rebuilt += direction * (direction @ (described_by[number] - mean))
        assert found == pytest.approx(np.linalg.norm(described_by[number] - rebuilt))
    assert reconstruction_error(patches)[MIDDLE] == pytest.approx(0.9)  # the border has no lightness at all


def test_few_components_are_kept_where_they_hold_most_of_the_variance():
    points = np.array([[3.0, 0.1, 0], [-3.0, 0.1, 0], [3.0, -0.1, 0], [-3.0, -0.1, 0]])
    assert np.allclose(np.abs(components(points)), [[1], [0], [0]])


def test_the_spectral_residual_is_high_on_a_thing_on_a_ground_of_noise():
    picture = np.random.default_rng(0).uniform(0.4, 0.6, (128, 128, 3)).astype(np.float32)
    picture[56:72, 56:72] = 1.0
    found = spectral_residual(picture)
    assert found.shape == (128, 128)
    assert found[48:80, 48:80].mean() > 2 * found.mean()


@pytest.mark.parametrize("method", sorted(set(ESTIMATORS) - {"spectral"}))
def test_every_method_is_higher_on_a_disc_than_on_the_rough_ground_around_it(method):
    picture, truth = disc((90, 130, 70))
    pixels = pixels_of(picture, 256)
    patches = superpixels_of(lab_of(pixels), 250)
    found = patches.paint(levelled(ESTIMATORS[method](pixels, patches), patches))
    assert found[truth].mean() > 0.6
    assert found[~truth].mean() < 0.3


@pytest.mark.parametrize("method", sorted(ESTIMATORS))
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (40, 30)])
def test_every_method_has_finite_values_of_a_picture_of_one_colour(method, size):
    pixels = np.full((*size, 3), 0.4, np.float32)
    patches = superpixels_of(lab_of(pixels), 250)
    found = levelled(ESTIMATORS[method](pixels, patches), patches)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_robust_background_is_one_on_the_thing_and_nought_around_it():
    found = stretched(robust_background(patches_of(90.0)))
    inner = ~patches_of(90.0).border
    assert found[inner].min() > 0.8
    assert found[~inner].max() < 0.2


# from values to a mask


def test_otsu_parts_weighted_values_as_the_best_of_all_splits_does():
    values, weights = np.array([0.1, 0.9, 0.2, 0.8, 0.15]), np.array([5.0, 2.0, 1.0, 1.0, 3.0])
    assert otsu(values, weights) == pytest.approx(0.5)
    assert otsu(np.array([0.3]), np.ones(1)) == 0.3

    def between(threshold):
        low = values < threshold
        means = [np.average(values[side], weights=weights[side]) for side in (low, ~low)]
        return weights[low].sum() * weights[~low].sum() * (means[1] - means[0]) ** 2

    assert between(0.5) == max(between((a + b) / 2) for a, b in pairwise(sorted(values)))


@given(arrays(float, st.integers(2, 12), elements=st.floats(0, 1)))
def test_otsu_lies_between_the_ends(values):
    assert values.min() <= otsu(values, np.ones(len(values))) <= values.max()


def test_values_are_bent_so_that_the_threshold_is_the_middle():
    assert around_half(np.array([0.0, 0.1, 0.2, 0.6, 1.0]), 0.2) == pytest.approx([0.02, 0.25, 0.5, 0.75, 0.98])


def test_the_posterior_is_bayes_rule_with_densities_as_sums_of_kernels():
    patches, prior = patches_of(0, 8, 0, 3, 90, 0, 0, 0, 5), np.linspace(0.1, 0.9, 25)
    kernel = [np.exp(-(patches.contrasts[7, other] ** 2) / (2 * 5.0**2)) for other in range(25)]
    inside = sum(k * p for k, p in zip(kernel, prior)) / sum(prior)
    outside = sum(k * (1 - p) for k, p in zip(kernel, prior)) / sum(1 - prior)
    assert colour_posterior(patches, prior)[7] == pytest.approx(inside / (inside + outside))


def test_two_opinions_join_in_their_geometric_mean():
    assert joint(np.array([0.9]), np.array([0.5])) == pytest.approx([0.75])  # odds of 9 and of 1: 3
    assert joint(np.array([0.8]), np.array([0.2])) == pytest.approx([0.5])


def test_the_cut_is_the_cheapest_of_all():
    labels = np.arange(6).reshape(2, 3).repeat(4, axis=0).repeat(4, axis=1)
    chance = np.random.default_rng(3)
    lab = np.zeros((8, 12, 3))
    lab[..., 0] = chance.uniform(0, 40, 6)[labels]
    patches, likely = described(labels, lab), chance.uniform(0.1, 0.9, 6)
    edges = 2.0 * likeness_of_neighbours(patches)

    def cost(chosen):
        parted = edges[np.ix_(chosen, ~chosen)].sum()
        return parted - np.log(likely[chosen]).sum() - np.log(1 - likely[~chosen]).sum()

    every = [np.array([number >> bit & 1 for bit in range(6)], bool) for number in range(64)]
    assert cheapest_cut(patches, likely).tolist() == min(every, key=cost).tolist()


def test_patches_of_the_objects_colour_are_the_object():
    patches = patches_of(90.0)
    values = (~patches.border).astype(float)
    values[MIDDLE] = 0.3  # one that the map misses
    assert object_patches(patches, values, 0.5).tolist() == (~patches.border).tolist()


def test_the_guided_filter_is_its_windows_solved_one_by_one():
    chance, radius, tolerance = np.random.default_rng(0), 1, 0.01
    picture, found = chance.random((7, 8, 3)).astype(np.float32), chance.random((7, 8)).astype(np.float32)
    fits = {}
    for row in range(1, 6):
        for column in range(1, 7):
            window = (slice(row - radius, row + radius + 1), slice(column - radius, column + radius + 1))
            colours, values = picture[window].reshape(-1, 3), found[window].ravel()
            spread = np.cov(colours.T, bias=True) + tolerance * np.eye(3)
            slope = np.linalg.solve(spread, (colours * values[:, None]).mean(0) - colours.mean(0) * values.mean())
            fits[row, column] = (slope, values.mean() - slope @ colours.mean(0))
    around = [fits[row, column] for row in (2, 3, 4) for column in (3, 4, 5)]
    expected = sum(slope @ picture[3, 4] + offset for slope, offset in around) / 9
    assert guided(found, picture, radius=radius, tolerance=tolerance)[3, 4] == pytest.approx(expected, abs=1e-4)


def test_crumbs_go_and_pieces_that_are_large_beside_the_largest_stay():
    mask = np.zeros((100, 100), bool)
    mask[10:50, 10:50] = mask[60:80, 60:80] = mask[90:92, 90:92] = True
    kept = without_crumbs(mask)
    assert (kept[20, 20], kept[70, 70], kept[91, 91]) == (True, True, False)
    assert not without_crumbs(np.zeros((5, 5), bool)).any()


def test_a_mask_is_widened_by_a_disc():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    assert widened(mask, 2).sum() == 13
    assert not widened(np.zeros((3, 3), bool), 2).any()


def test_holes_are_filled_and_the_mask_is_widened_by_a_share_of_the_shorter_side():
    found = np.zeros((100, 120), np.float32)
    found[30:70, 30:70], found[45:55, 45:55] = 1.0, 0.0
    picture = np.repeat(found[..., None], 3, axis=2)
    mask = refined(found, picture, dilation=0.02)
    assert mask[50, 50]
    assert (mask[28, 50], mask[27, 50]) == (True, False)


@given(arrays(float, st.integers(1, 9), elements=st.floats(0, 1)))
def test_stretched_values_are_from_0_to_1_or_all_0(values):
    found = stretched(values)
    assert found.min() == 0
    assert found.max() in (0, 1)


def test_a_map_is_resized_within_0_to_1():
    found = resized(np.array([[0.0, 1.0], [1.0, 0.0]]), (9, 7))
    assert found.shape == (9, 7)
    assert found.min() >= 0
    assert found.max() <= 1


# plain grounds, and the whole


def lab_with(box, size=(30, 40)):
    """White in CIELAB with a thing in a box."""
    lab = np.tile(np.array([100.0, 0, 0], np.float32), (*size, 1))
    lab[box] = (60, 20, 20)
    return lab


def test_on_a_plain_ground_all_is_object_that_no_ground_reaches():
    lab = lab_with(np.s_[5:30, 10:30])  # it stands on the border
    lab[10:15, 15:20] = (100, 0, 0)  # and has white inside
    mask = object_on_plain_ground(lab)
    assert mask.sum() == 25 * 20
    assert mask[12, 17]


@pytest.mark.parametrize(
    ("box", "size"),
    [(np.s_[20:, :], (30, 40)), (np.s_[1:-1:3, :], (30, 40)), (np.s_[:, 2:58], (10, 60))],
    ids=["two corners", "a border with specks", "little of the border"],
)
def test_other_grounds_are_not_plain(box, size):
    assert object_on_plain_ground(lab_with(box, size)) is None


def test_the_ring_goes_once_around():
    assert ring(np.arange(12).reshape(3, 4)).tolist() == [0, 1, 2, 3, 7, 11, 10, 9, 8, 4]


@pytest.mark.parametrize("ground", [(90, 130, 70), (60, 70, 120)])
def test_a_disc_on_a_rough_ground_is_found(ground):
    picture, truth = disc(ground)
    assert overlap(estimate(picture, Settings(dilation=0.0)).mask, truth) > 0.85


def test_a_coarse_map_takes_the_place_of_the_methods():
    picture, truth = disc((90, 130, 70))
    ImageDraw.Draw(picture).rectangle((0, 0, 14, 14), fill=(240, 240, 60))
    coarse = np.zeros((6, 8), np.float32)
    coarse[:2, :2] = 1.0
    mask = estimate(picture, Settings(dilation=0.0), coarse).mask
    assert mask[:14, :14].mean() > 0.9
    assert not mask[truth].any()


def test_a_mask_is_of_the_pictures_shape_and_at_most_so_large():
    estimates = [
        estimate(Image.effect_noise(size, 90).convert("RGB"), Settings(side=64)) for size in [(300, 150), (40, 90)]
    ]
    assert [found.mask.shape for found in estimates] == [(64, 128), (90, 40)]
    assert [found.map.shape for found in estimates] == [(64, 128), (90, 40)]


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (9, 9)])
def test_a_picture_without_an_object_has_no_mask_of_use_but_no_error_either(size):
    assert not usable(estimate(Image.new("RGB", size, (70, 70, 70)), Settings()).mask)


def test_masks_are_made_without_chance():
    picture, _ = disc((90, 130, 70))
    one, other = (estimate(picture, Settings()) for _ in range(2))
    assert (one.mask == other.mask).all()
    assert (one.map == other.map).all()
