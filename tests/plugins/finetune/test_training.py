"""The loop against a plain one, its chance, its errors, and what it chooses by."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from sslcli_finetune.classifier import Classifier
from sslcli_finetune.evaluations.choosing import BestSoFar, learn, parted
from sslcli_finetune.evaluations.task import Task, own_chance
from sslcli_finetune.evaluations.training import VIEW, Training, length_of, mixing_of, rules_of, train
from sslcli_finetune.protocols import Settings
from torch import Tensor

from sslcli.errors import RunError, UserError
from sslcli.evaluation.trial import Trial

SMALL = Settings(epochs=(2.0,), batch_size=8, drop_path=0.0, warmup=0.0, erase=0.5)


def same(one: Classifier, other: Classifier) -> bool:
    """Whether two networks are equal to the bit."""
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def shown(training: Training) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and labels of every step."""
    with closing(training.batches()) as batches:  # type: ignore[type-var]
        for batch in batches:
            drawn = {name: values[0] for name, values in batch.draws[VIEW].items()}
            yield training.view.finish(batch.crops[VIEW][0], drawn), training.labels[batch.columns["index"]]


def test_the_loop_is_a_plain_loop_over_the_same_pictures(task: Task, trial: Trial) -> None:
    settings = replace(SMALL, layer_decay=1.0, weight_decay=(0.1,), smoothing=0.1, final_lr=1e-4)
    training = Training(task, trial.judged.train, settings, seed=3)
    plain = task.begin(settings, 3)
    undecayed = {"backbone.model.cls_token", "backbone.model.pos_embed"}
    matrices = [p for name, p in plain.named_parameters() if p.ndim > 1 and name not in undecayed]
    others = [p for name, p in plain.named_parameters() if p.ndim == 1 or name in undecayed]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
    for step, (images, labels) in enumerate(shown(training)):
        for group in optimizer.param_groups:
            group["lr"] = 1e-4 + (1e-3 - 1e-4) * (1 + np.cos(np.pi * step / 4)) / 2
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(plain(images), labels, label_smoothing=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    trained = train(task, trial.judged.train, settings, 3)
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_the_same_seed_gives_the_same_network_and_another_another(task: Task, trial: Trial) -> None:
    settings = replace(SMALL, mixup=0.8, cutmix=1.0, drop_path=0.5, rand_augment=9.0)
    first, again, other = (train(task, trial.judged.train, settings, seed) for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_global_generators_are_left_as_they_were(task: Task, trial: Trial) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    train(task, trial.judged.train, replace(SMALL, mixup=0.8), 0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # type: ignore[index]


def test_a_batch_in_two_forwards_gives_the_same_step(task: Task, trial: Trial) -> None:
    settings = replace(SMALL, optimizer="sgd", erase=0.0)
    whole = train(task, trial.judged.train, settings, 0)
    halves = train(task, trial.judged.train, replace(settings, accumulation=2), 0)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(halves.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)


def test_averaged_weights_lie_between_the_first_and_the_last(task: Task, trial: Trial) -> None:
    settings = replace(SMALL, epochs=(0.4,), head_std=0.1)  # one step
    first, last = task.begin(settings, 0), train(task, trial.judged.train, settings, 0)
    mean = train(task, trial.judged.train, replace(settings, ema=0.75), 0)
    begun, ended, averaged = (network.state_dict()["head.weight"] for network in (first, last, mean))
    torch.testing.assert_close(averaged, 0.75 * begun + 0.25 * ended)
    assert not torch.equal(begun, ended)


def test_a_loss_that_is_no_number_stops_the_training(task: Task, trial: Trial) -> None:
    with pytest.raises(RunError, match="the loss is no number after"):
        train(task, trial.judged.train, replace(SMALL, optimizer="sgd", lr=(1e30,)), 0)


def test_mixed_labels_are_shares_that_sum_to_one() -> None:
    mix = mixing_of(Settings(mixup=0.8, cutmix=1.0, smoothing=0.1), 4)
    with own_chance(torch.device("cpu")):
        np.random.seed(0)
        images, targets = mix(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8).clone(), torch.arange(4))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
    kept = (targets[0, 0] - 0.025) / 0.9  # of the first picture, which is all zeros; the last is all threes
    torch.testing.assert_close(images[0].mean(), 3 * (1 - kept))


def test_a_batch_is_no_larger_than_the_set_and_even_where_pairs_are_mixed() -> None:
    assert length_of(Settings(batch_size=64, mixup=0.8), 27).batch == 26
    assert length_of(Settings(batch_size=64), 27).batch == 27
    assert length_of(Settings(batch_size=8, epochs=(0.01,), warmup=3), 27).warmup == 0.5
    with pytest.raises(UserError, match="cannot be divided into 64"):
        length_of(Settings(batch_size=64, accumulation=64), 27)


def test_the_rate_grows_with_the_batch_and_the_decay_is_over_it_where_asked() -> None:
    rules = rules_of(Settings(lr=(5e-4,), lr_batch=256, weight_decay=(0.05,)), 1024)
    assert rules.lr == pytest.approx(2e-3)
    assert rules.weight_decay == 0.05
    assert rules_of(Settings(lr=(0.1,), weight_decay=(1e-3,), decay_by_lr=True), 64).weight_decay == pytest.approx(0.01)


def test_the_part_to_choose_by_is_held_out_of_the_part_that_is_learnt(trial: Trial) -> None:
    rest, held = parted(trial.judged.train, 0)
    assert sorted([*rest.indices, *held.indices]) == list(range(20))
    assert len(held) == 4


def test_the_best_of_several_rates_learns_all_pictures(task: Task, trial: Trial) -> None:
    settings = replace(SMALL, lr=(1e-9, 1e-3))
    learnt = learn(task, trial.judged.train, settings, 0)
    assert len(learnt.settings.lr) == 1
    assert same(learnt.classifier, train(task, trial.judged.train, learnt.settings, 0))


def test_the_best_epoch_is_kept_as_it_was_then(task: Task) -> None:
    shares = iter([0.2, 0.6, 0.6, 0.4])
    best = BestSoFar(lambda classifier: next(shares))
    shown_networks = [task.begin(SMALL, seed) for seed in range(4)]
    for classifier in shown_networks:
        best.look(classifier)
    assert best.share == 0.6
    assert best.classifier is not None
    assert same(best.classifier, shown_networks[1])
