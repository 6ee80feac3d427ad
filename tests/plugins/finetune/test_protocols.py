"""Presets against the numbers of the papers and codes, and what is typed over them."""

from typing import Any

import pytest
from sslcli_finetune.options import FinetuneOptions, SemiOptions, TrainingOptions, TransferOptions
from sslcli_finetune.protocols import PROTOCOLS, Settings, settings_of

MIXED = {"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1, "rand_augment": 9.0, "erase": 0.25, "optimizer": "adamw"}
MAE = {**MIXED, "lr_batch": 256, "batch_size": 1024, "warmup": 5, "final_lr": 1e-6, "vector": "fresh"}
MUGS = {**MIXED, "lr_batch": 0, "final_lr": 1e-6, "vector": "cls", "weight_decay": (0.05,)}
PATCHMIX = {**MIXED, "lr_batch": 256, "final_lr": 1e-5, "epochs": (100,), "warmup": 10, "layer_decay": 0.75}
PLAIN = {"optimizer": "sgd", "mixup": 0, "cutmix": 0, "rand_augment": 0, "erase": 0, "smoothing": 0, "layer_decay": 1}

TABLE: list[tuple[str, int, dict[str, Any]]] = [
    ("small", 96, {"epochs": (30,), "lr": (3e-3,), "lr_batch": 0, "rand_augment": 0, "vector": "auto"}),
    ("small", 768, {"lr": (2.5e-4,), "batch_size": 64, "mixup": 0, "best": False}),
    ("mae", 768, {**MAE, "epochs": (100,), "lr": (5e-4,), "layer_decay": 0.65, "drop_path": 0.1}),
    ("mae", 1024, {**MAE, "epochs": (50,), "lr": (1e-3,), "layer_decay": 0.75, "drop_path": 0.2}),
    ("mae", 1280, {**MAE, "epochs": (50,), "lr": (1e-3,), "layer_decay": 0.75, "drop_path": 0.3, "head_std": 2e-5}),
    ("mugs", 384, {**MUGS, "epochs": (200,), "lr": (1.2e-3,), "layer_decay": 0.55, "drop_path": 0.1, "warmup": 20}),
    ("mugs", 384, {"batch_size": 4 * 256}),
    ("mugs", 768, {**MUGS, "epochs": (100,), "lr": (1.2e-3,), "layer_decay": 0.55, "drop_path": 0.2, "warmup": 20}),
    ("mugs", 768, {"batch_size": 8 * 128}),
    ("mugs", 1024, {**MUGS, "epochs": (50,), "lr": (8e-4,), "layer_decay": 0.75, "drop_path": 0.3, "warmup": 5}),
    ("mugs", 1024, {"batch_size": 8 * 64}),
    ("patchmix", 192, {**PATCHMIX, "lr": (1e-3,)}),
    ("patchmix", 384, {**PATCHMIX, "lr": (5e-4,), "batch_size": 1024, "drop_path": 0.1}),
    ("patchmix", 768, {**PATCHMIX, "lr": (5e-4,), "vector": "cls"}),
    ("relicv2", 2048, {**PLAIN, "batch_size": 1024, "weight_decay": (0,), "epochs": (30, 50)}),
    ("relicv2", 2048, {"lr": (0.005, 0.01, 0.02, 0.05, 0.1), "drop_path": 0, "least_area": 0.08}),
]


@pytest.mark.parametrize(("protocol", "width", "numbers"), TABLE)
def test_a_protocol_has_the_numbers_of_its_paper(protocol: str, width: int, numbers: dict[str, Any]) -> None:
    settings = settings_of(FinetuneOptions(), protocol, width)
    assert {name: getattr(settings, name) for name in numbers} == numbers


def test_few_pictures_are_learnt_as_mugs_does() -> None:
    settings = settings_of(SemiOptions(), "mugs", 384, "semi")
    assert (settings.epochs, settings.lr, settings.lr_batch, settings.final_lr) == ((1000,), (5e-6,), 512, 1e-5)
    assert (settings.head_hidden, settings.drop_path, settings.batch_size, settings.warmup) == (2048, 0.1, 1024, 5)


def test_sets_are_learnt_by_the_grid_of_ssl_transfer() -> None:
    settings = settings_of(TransferOptions(), "ssl_transfer", 768, "transfer")
    assert (settings.steps, settings.batch_size, settings.optimizer, settings.decay_by_lr) == (5000, 64, "sgd", True)
    assert settings.lr == (1e-4, 1e-3, 1e-2, 1e-1)
    assert settings.weight_decay == (0, 1e-6, 1e-5, 1e-4, 1e-3)
    assert len(list(settings.candidates())) == 20


def test_what_is_typed_is_laid_over_the_protocol() -> None:
    options = FinetuneOptions(protocol="mae", epochs=(3,), drop_path=0.0)
    settings = settings_of(options, "mae", 768)
    assert (settings.epochs, settings.drop_path, settings.layer_decay) == ((3,), 0.0, 0.65)


def test_epochs_that_are_typed_count_where_the_protocol_counts_steps() -> None:
    assert settings_of(TransferOptions(epochs=(3,)), "ssl_transfer", 768, "transfer").steps == 0


def test_a_network_of_another_width_has_the_numbers_of_the_nearest() -> None:
    assert settings_of(FinetuneOptions(), "mae", 96).layer_decay == 0.65
    assert settings_of(FinetuneOptions(), "mae", 1200).drop_path == 0.3


def test_every_number_of_a_training_is_an_option_and_the_other_way_round() -> None:
    assert set(Settings.__dataclass_fields__) == set(TrainingOptions.model_fields) - {"seed"}
    assert {name for table in PROTOCOLS.values() for name in table} <= set(Settings.__dataclass_fields__)


def test_the_warm_up_is_told_as_far_as_each_length_lets_it_go() -> None:
    assert ", warmup 0.5/3.0, " in Settings(epochs=(1.0, 30.0), warmup=3.0).said()
