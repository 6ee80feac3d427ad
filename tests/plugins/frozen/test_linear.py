"""`sslcli eval linear`: heads that learn, the choice among them, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sslcli_frozen.evaluations.feeding import Anew, Crops, Kept, Order, random_crop
from sslcli_frozen.evaluations.heads import Head
from sslcli_frozen.evaluations.learning import Score, answers, grid, learn, place_of, ranked, rate_of
from sslcli_frozen.evaluations.linear import judge
from sslcli_frozen.evaluations.sight import OWN, Layout, Sight
from sslcli_frozen.options import LinearOptions
from torch import nn

from sslcli.data.sources import open_source
from sslcli.errors import RunError, UserError
from sslcli.evaluation.card import Card

CPU = torch.device("cpu")
OWN_VECTOR, NOTHING = Layout(1, OWN), Sight(nn.Identity())
QUICK = {"epochs": 3, "lrs": (0.1, 1.0)}


def test_a_head_learns_what_logistic_regression_learns(clouds):
    (features, labels), (others, truth) = clouds(200, 0), clouds(400, 1)
    options = LinearOptions(lrs=(1.0, 2.0), epochs=150, batch_size=50)
    feed = Kept(features, labels, Order.of(200, 50, 0), CPU)
    (stack,) = learn(grid(options, [OWN_VECTOR]), feed, NOTHING, 4, options, device=CPU, note=print)
    predicted = answers(stack, others, NOTHING, CPU).argmax(dim=2)
    reference = LogisticRegression(C=np.inf, max_iter=2000).fit(features.numpy(), labels.numpy())
    right = (predicted == truth[:, None]).double().mean(dim=0)
    assert right.tolist() == pytest.approx([reference.score(others.numpy(), truth.numpy())] * 2, abs=0.02)
    assert (predicted[:, 1].numpy() == reference.predict(others.numpy())).mean() > 0.95


def test_the_table_begins_with_the_head_that_was_tested_and_the_grid_is_for_programs(make_trial):
    report = judge(LinearOptions(layers=(1, 2), **QUICK), make_trial())
    first, *others = report.results
    assert 0 <= first["top1_interval"][0] <= first["top1"] <= first["top1_interval"][1] <= 1
    assert len(others) == 4
    assert all("top1" not in row for row in others)
    found = json.loads(json.dumps(report.document()))["grid"]
    assert len(found) == 2 * 3 * 2
    assert [head["held_out"] for head in found] == sorted((head["held_out"] for head in found), reverse=True)
    assert all(found[0][name] == first[name] for name in ("layers", "pooling", "lr", "held_out"))


def test_the_same_seed_gives_the_same_report(make_trial):
    trial, random = make_trial(), torch.random.get_rng_state()
    options = LinearOptions(layers=(1,), augment=True, **QUICK)
    assert judge(options, trial) == judge(options, trial)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_test_pictures_choose_nothing(make_trial, monkeypatch):
    trial = make_trial()
    before, labels = judge(LinearOptions(**QUICK), trial), trial.judged.test.labels()
    monkeypatch.setattr(trial.judged.test, "labels", lambda: 1 - labels, raising=False)
    after = judge(LinearOptions(**QUICK), trial)
    assert after.details == before.details
    assert after.results[0]["top1"] == pytest.approx(1 - before.results[0]["top1"])


def test_a_single_head_learns_from_everything_at_once(make_trial):
    notes = []
    report = judge(LinearOptions(lrs=(0.1,), layers=(1,), pooling=("cls",), epochs=2), make_trial(note=notes.append))
    assert [note for note in notes if note.startswith("linear")] == [
        "linear: 1 head learns from 20 pictures, 2 epochs of 1 step"
    ]
    assert report.results[0]["held_out"] is None


def test_what_gives_one_vector_has_only_rates_to_choose(make_trial):
    report = judge(LinearOptions(**QUICK), make_trial("pixels"))
    assert [(row["layers"], row["pooling"]) for row in report.results] == [(None, "own")] * 2


def test_pool_stands_for_pooling_when_that_is_not_said(make_trial):
    assert {row["pooling"] for row in judge(LinearOptions(**QUICK), make_trial(pool="mean")).results} == {"mean"}


@pytest.mark.parametrize(
    ("options", "run", "message"),
    [
        ({"layers": (4,)}, "", "the last 4 blocks of a backbone that has 2"),
        ({"protocol": "mugs"}, "", "the last 4 blocks of a backbone that has 2"),
        ({"layers": (1,)}, "pixels", "pixels has no blocks of tokens"),
        ({"protocol": "mae", "epochs": 10}, "", "the rate rises for 10 epochs, and there are 10"),
        ({"protocol": "mae", "method": "logistic"}, "", "the protocol mae trains by steps"),
        (
            {"batch_size": 8, "epochs": 3, "method": "logistic"},
            "",
            "--epochs, --batch-size: logistic regression trains",
        ),
    ],
)
def test_what_cannot_be_is_refused(make_trial, options, run, message):
    with pytest.raises(UserError, match=message):
        judge(LinearOptions(**options), make_trial(run))


def test_features_that_are_not_finite_are_refused(make_trial):
    trial = make_trial()
    trial.backbone.exported.norm.weight.data[0] = float("nan")
    with pytest.raises(RunError, match="features of 20 of 20 training pictures are not finite"):
        judge(LinearOptions(**QUICK), trial)


def test_a_protocol_that_crops_anew_runs_the_backbone_in_every_epoch(make_trial):
    trial, calls = make_trial(), []
    features = trial.backbone.features
    trial.backbone.features = lambda images: calls.append(len(images)) or features(images)
    report = judge(LinearOptions(protocol="patchmix", epochs=3), trial)
    assert calls == [20, 4, 20, 20, 20]  # both parts as they are tested, then three epochs of crops
    assert report.facts["pictures_shown"] == "cropped anew each epoch"


def test_crops_hang_on_seed_epoch_and_picture_only(make_trial):
    source, crop = make_trial().judged.train, random_crop(16, "retry")
    first = Crops(source, crop, 0, 3, [4, 7])
    again = Crops(source, crop, 0, 3, [7])
    assert (first[1][1] == again[0][1]).all()
    assert (first[1][1] != Crops(source, crop, 0, 4, [7])[0][1]).any()


def test_crops_that_are_drawn_anew_keep_the_labels_of_their_pictures(tmp_path):
    for colour in ("blue", "red"):
        (tmp_path / colour).mkdir()
        for number in range(6):
            Image.new("RGB", (20, 20), colour).save(tmp_path / colour / f"{number}.png")
    source, positions = open_source(str(tmp_path)), torch.tensor([1, 4, 5, 6, 9, 11])  # the others were held out
    labels, order = torch.from_numpy(source.labels())[positions], Order.of(6, 2, 0)
    crop, shift = random_crop(16, "retry"), torch.zeros(3)
    feed = Anew(nn.AdaptiveAvgPool2d(1), source, Card(16), positions, labels, shift, crop, order, CPU)
    for epoch in range(2):
        rows, told = (torch.cat(parts) for parts in zip(*feed.epoch(epoch)))
        assert (rows[:, 0] > rows[:, 2]).tolist() == (told == source.classes.index("red")).tolist()
        assert len(rows) == 6


def test_a_best_rate_at_the_edge_of_those_that_were_tried_is_pointed_out(make_trial):
    notes = []
    best = judge(LinearOptions(**QUICK), make_trial("pixels", note=notes.append)).results[0]["lr"]
    edge = {0.1: "smallest", 1.0: "largest"}[best]
    assert f"linear: the best rate, {best:g}, is the {edge} that was tried: try more by --lrs" in notes


def test_every_epoch_has_another_order_of_whole_batches():
    order = Order.of(10, 4, 0)
    one, other = torch.cat(order.batches(0)), torch.cat(order.batches(1))
    assert (len(one), order.steps, len(set(one.tolist()))) == (8, 2, 8)
    assert one.tolist() != other.tolist()
    assert Order.of(3, 256, 0).batch == 3


def test_rates_grow_with_the_batch_and_fall_along_a_cosine():
    options, order = LinearOptions(epochs=10, final_lr=0.1), Order.of(1024, 512, 0)
    rate = rate_of(1.0, options, order)
    assert (rate.at(0), rate.at(20)) == (2.0, 0.1)
    assert rate.at(10) == pytest.approx((2.0 + 0.1) / 2)


def test_rates_may_move_by_epochs():
    options, order = LinearOptions(epochs=10, moves="epoch", warmup_epochs=2), Order.of(1024, 512, 0)
    rates = [rate_of(1.0, options, order).at(place_of(step, options, order)) for step in range(6)]
    assert rates == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]


def test_of_heads_that_are_equally_right_the_surer_one_comes_first_and_diverged_ones_last():
    head = Head(OWN_VECTOR, "sgd", 1.0, 0.0)
    found = [Score(head, right, loss) for right, loss in ((0.9, float("nan")), (0.5, 2.0), (0.5, 1.0), (0.6, 9.0))]
    assert ranked(found) == [3, 2, 1, 0]


def test_logistic_regression_judges_the_own_vector(make_trial):
    report = judge(LinearOptions(method="logistic"), make_trial())
    (row,) = report.results
    assert list(row) == ["c", "top1", "top1_interval"]
