"""The mathematics of `sslcli eval segment` and `sslcli eval video`, against plain loops and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score
from sslcli_dense.counting import confusion_of, tally
from sslcli_dense.head import Head, classes_at, pixel_loss
from sslcli_dense.options import VideoOptions
from sslcli_dense.propagation import carried, first_labels, objects_of, propagate
from sslcli_dense.regions import boundary, boundary_score, region_score
from sslcli_dense.resampling import resampled
from torch.nn.functional import cross_entropy, interpolate, normalize


def pixels(seed=0, classes=4, count=600):
    """True and predicted classes, some true ones to be ignored."""
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, classes, (2, 20, count // 20))
    truth[rng.random(truth.shape) < 0.1] = 255
    return truth, predicted


def test_the_confusion_matrix_is_that_of_scikit_learn_without_ignored_pixels():
    truth, predicted = pixels()
    counted = truth != 255
    expected = confusion_matrix(truth[counted], predicted[counted], labels=range(4))
    assert np.array_equal(confusion_of(truth, predicted, 4, 255), expected)


def test_ious_are_those_of_scikit_learn_over_all_pictures_together():
    pictures = [pixels(seed) for seed in range(3)]
    found = tally([confusion_of(*picture, 4, 255) for picture in pictures]).together()
    truth, predicted = (np.concatenate([picture[side].ravel() for picture in pictures]) for side in (0, 1))
    counted = truth != 255
    expected = jaccard_score(truth[counted], predicted[counted], average=None)
    assert found.ious() == pytest.approx(expected)
    assert found.mean_iou() == pytest.approx(expected.mean())
    assert found.accuracy() == pytest.approx((truth[counted] == predicted[counted]).mean())


def test_a_class_that_neither_occurs_nor_is_said_has_no_iou_and_does_not_count():
    truth = np.array([[0, 0, 1, 1]])
    found = tally([confusion_of(truth, np.array([[0, 0, 1, 0]]), 3, 255)]).together()
    assert np.isnan(found.ious()[2])
    assert found.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_that_is_said_but_never_true_has_an_iou_of_zero():
    found = tally([confusion_of(np.zeros((1, 4), int), np.array([[0, 0, 0, 2]]), 3, 255)]).together()
    assert found.ious()[2] == 0.0


def test_resampled_sums_have_the_mean_and_spread_of_drawing_with_replacement():
    parts = np.random.default_rng(1).random((40, 2))
    drawn = resampled(parts, seed=0, resamples=4000)
    assert drawn.mean(axis=0) == pytest.approx(parts.sum(axis=0), rel=0.01)
    assert drawn.std(axis=0) == pytest.approx(parts.std(axis=0) * np.sqrt(40), rel=0.05)
    assert resampled(parts, seed=0)[:, 0] == pytest.approx(resampled(parts[:, 0], seed=0))


def test_a_head_is_batch_norm_and_a_linear_map_of_every_patch():
    head = Head(6, 3, torch.Generator().manual_seed(0)).eval()
    maps = torch.randn(2, 6, 4, 5)
    expected = torch.einsum("kd,bdhw->bkhw", head.classify.weight[..., 0, 0], head.norm(maps))
    assert torch.allclose(head(maps), expected + head.classify.bias.view(1, 3, 1, 1), atol=1e-6)


def test_making_a_head_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Head(6, 3, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_the_loss_is_cross_entropy_over_the_pixels_that_have_a_class():
    logits, labels = torch.randn(2, 3, 4, 4), torch.randint(-1, 3, (2, 8, 8))
    large = interpolate(logits, size=(8, 8), mode="bilinear").permute(0, 2, 3, 1)
    assert pixel_loss(logits, labels).item() == pytest.approx(
        cross_entropy(large[labels >= 0], labels[labels >= 0]).item()
    )
    assert pixel_loss(logits, torch.full((2, 8, 8), -1)).item() == 0.0


def test_the_likeliest_classes_are_those_of_all_logits_enlarged_at_once():
    logits = torch.randn(37, 5, 4)
    expected = interpolate(logits[None], size=(13, 17), mode="bilinear")[0].argmax(dim=0)
    assert torch.equal(classes_at(logits, (13, 17)), expected)


def carried_by_a_loop(target, sources, labels, radius, topk, temperature):
    """Each patch by itself, as the protocol says it."""
    frames, _, rows, columns = sources.shape
    result = torch.zeros(labels.shape[1:])
    for row in range(rows):
        for column in range(columns):
            votes = []
            for frame in range(frames):
                for r in range(rows):
                    for c in range(columns):
                        if radius and max(abs(r - row), abs(c - column)) > radius:
                            continue
                        cosine = (target[:, row, column] * sources[frame, :, r, c]).sum()
                        votes.append((cosine.item(), labels[frame, :, r, c]))
            votes = sorted(votes, key=lambda vote: -vote[0])[:topk]
            weights = torch.tensor([vote[0] / temperature for vote in votes]).exp()
            shares = torch.stack([vote[1] for vote in votes])
            result[:, row, column] = (weights[:, None] * shares).sum(0) / weights.sum()
    return result


@pytest.mark.parametrize("radius", [0, 1, 2, 9])
@pytest.mark.parametrize("cells", [1, 1 << 24])
def test_labels_are_carried_as_a_plain_loop_carries_them(radius, cells, monkeypatch):
    monkeypatch.setattr("sslcli_dense.propagation.CELLS", cells)
    torch.manual_seed(0)
    target = normalize(torch.randn(6, 4, 5), dim=0)
    sources, labels = normalize(torch.randn(2, 6, 4, 5), dim=1), torch.rand(2, 3, 4, 5)
    found = carried(target, sources, labels, radius=radius, topk=3, temperature=0.1)
    assert torch.allclose(found, carried_by_a_loop(target, sources, labels, radius, 3, 0.1), atol=1e-5)


def moving_square(frames=9, side=24, step=1):
    """Colours `[3, H, W]` of a red square that moves over blue, and its label."""
    for frame in range(frames):
        label = torch.zeros(side, side, dtype=torch.int64)
        label[4 + frame * step : 12 + frame * step, 6:14] = 1
        yield torch.stack([label.float(), torch.full_like(label, 0.1).float(), 1 - label.float()]), label.numpy()


def followed(**options):
    maps, labels = zip(*moving_square())
    first = first_labels(labels[0], [1], (24, 24))
    shares = propagate(maps, first, VideoOptions(**options))
    return [objects_of(share, (24, 24)) for share in shares], labels[1:]


def test_a_moving_square_is_followed_to_the_pixel_by_its_colour():
    found, truth = followed()
    assert all(np.array_equal(one, other) for one, other in zip(found, truth))


def test_a_square_that_moves_further_than_the_radius_from_all_sources_is_lost():
    found, truth = followed(last_frames=0, radius=1)  # from the first frame alone, one patch a side
    everywhere = np.ones((24, 24), bool)
    assert region_score(found[0] == 1, truth[0] == 1, everywhere) == 1.0
    assert region_score(found[-1] == 1, truth[-1] == 1, everywhere) < 0.5


def test_the_label_of_a_patch_is_that_of_the_pixel_in_its_middle():
    label = np.zeros((8, 8), int)
    label[0:4, 4:8], label[6, 2] = 7, 3
    found = first_labels(label, [3, 7], (2, 2))
    assert found.argmax(dim=0).tolist() == [[0, 2], [1, 0]]


def test_a_faint_object_is_not_lost_and_an_absent_one_nowhere():
    shares = torch.zeros(3, 6, 6)
    shares[0], shares[1, 2, 2], shares[0, 2, 2] = 1.0, 0.2, 0.8
    found = objects_of(shares, (6, 6))
    assert found[2, 2] == 1
    assert (found == 1).sum() == 1
    assert (found != 2).all()


def square(top, left, side=10, size=40):
    region = np.zeros((size, size), bool)
    region[top : top + side, left : left + side] = True
    return region


def test_j_is_intersection_over_union_of_what_counts_and_1_where_both_are_empty():
    everywhere, empty = np.ones((40, 40), bool), np.zeros((40, 40), bool)
    assert region_score(square(5, 5), square(5, 10), everywhere) == pytest.approx(50 / 150)
    assert region_score(empty, empty, everywhere) == 1.0
    assert region_score(square(5, 5), square(5, 10), ~square(5, 5)) == 0.0


def test_a_boundary_is_where_a_pixel_differs_from_the_next():
    found = boundary(square(2, 2, side=3, size=8))
    expected = np.zeros((8, 8), bool)
    for row in range(7):
        for column in range(7):
            values = square(2, 2, side=3, size=8)[row : row + 2, column : column + 2]
            expected[row, column] = len(set(values.ravel().tolist())) > 1
    assert np.array_equal(found, expected)


def test_f_forgives_a_pixel_within_the_tolerance_and_no_more():
    everywhere = np.ones((40, 40), bool)  # 0.8 % of the diagonal, rounded up, is one pixel
    assert boundary_score(square(5, 5), square(5, 6), everywhere) == 1.0
    assert boundary_score(square(5, 5), square(5, 9), everywhere) < 1.0
    assert boundary_score(square(5, 5), square(25, 25), everywhere) == 0.0


def test_f_of_nothing_is_1_where_nothing_is_and_0_where_something_is():
    everywhere, empty = np.ones((40, 40), bool), np.zeros((40, 40), bool)
    assert boundary_score(empty, empty, everywhere) == 1.0
    assert boundary_score(empty, square(5, 5), everywhere) == 0.0
    assert boundary_score(square(5, 5), empty, everywhere) == 0.0
