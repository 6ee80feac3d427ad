"""The methods' own linear protocols, number by number."""

import pytest
from sslcli_frozen.evaluations.learning import grid
from sslcli_frozen.evaluations.sight import Layout
from sslcli_frozen.options import LinearOptions
from sslcli_frozen.presets import resolved

MUGS = {"epochs": 100, "moves": "epoch", "momentum": 0.9, "nesterov": False, "start": "normal", "warmup_epochs": 0.0}
PATCHMIX = {
    "epochs": 100,
    "moves": "epoch",
    "momentum": 0.9,
    "nesterov": True,
    "start": "torch",
    "final_lr": 0.0,
    "layers": (1,),
    "pooling": ("cls",),
    "optimizers": ("sgd",),
    "weight_decays": (0.0,),
}
MAE = {
    "batch_size": 16384,
    "lrs": (0.1,),
    "optimizers": ("lars",),
    "momentum": 0.9,
    "weight_decays": (0.0,),
    "warmup_epochs": 10.0,
    "moves": "step",
    "final_lr": 0.0,
    "batch_norm": True,
    "start": "normal",
    "layers": (1,),
    "pooling": ("cls",),
    "fit": "clip",
}
TABLE = [
    ("mugs", 384, {**MUGS, "layers": (4,), "pooling": ("cls",), "lrs": (0.01, 0.015, 0.02), "batch_size": 4 * 256}),
    ("mugs", 384, {"weight_decays": (0.0,), "optimizers": ("sgd",)}),
    ("mugs", 768, {**MUGS, "layers": (1,), "pooling": ("both",), "lrs": (0.002,), "batch_size": 4 * 128}),
    ("mugs", 768, {"final_lr": 1e-5, "weight_decays": (0.0,), "optimizers": ("sgd",)}),
    ("mugs", 1024, {**MUGS, "layers": (1,), "pooling": ("both",), "batch_size": 8 * 128, "final_lr": 1e-5}),
    ("mugs", 1024, {"weight_decays": (0.0, 1e-6, 1e-5, 1e-4, 1e-3), "optimizers": ("sgd", "lars")}),
    ("patchmix", 192, {**PATCHMIX, "lrs": (0.05,), "batch_size": 256}),
    ("patchmix", 384, {**PATCHMIX, "lrs": (0.02,), "batch_size": 1024}),
    ("patchmix", 768, {**PATCHMIX, "lrs": (0.01,), "batch_size": 1024}),
    ("mae", 768, {**MAE, "epochs": 90}),
    ("mae", 1024, {**MAE, "epochs": 50}),
    ("mae", 1280, {**MAE, "epochs": 50}),
    ("relicv2", 2048, {"epochs": 100, "batch_size": 1024, "lrs": (0.3,), "momentum": 0.9, "nesterov": True}),
    ("relicv2", 2048, {"weight_decays": (0.0,), "warmup_epochs": 0.0, "final_lr": 0.0, "moves": "step"}),
    ("relicv2", 2048, {"optimizers": ("sgd",), "batch_norm": False, "fit": "retry"}),
]


@pytest.mark.parametrize(("protocol", "width", "expected"), TABLE)
def test_a_preset_has_the_numbers_of_its_protocol(protocol, width, expected):
    options = resolved(LinearOptions(protocol=protocol), width)
    assert {name: getattr(options, name) for name in expected} == expected
    assert options.augment


def test_mugs_tries_360_classifiers_on_its_largest_network():
    options = resolved(LinearOptions(protocol="mugs"), 1024)
    assert sum(map(len, grid(options, [Layout(1, "both")]))) == 360
    assert (min(options.lrs), max(options.lrs), len(options.lrs)) == (1e-4, 0.9, 36)


def test_a_network_of_another_width_is_taken_for_a_small_one():
    assert resolved(LinearOptions(protocol="patchmix"), 96).lrs == (0.02,)


def test_what_a_person_says_goes_before_the_preset():
    options = resolved(LinearOptions(protocol="mae", epochs=12, augment=False), 768)
    assert (options.epochs, options.augment, options.batch_size) == (12, False, 16384)


def test_without_a_protocol_nothing_changes():
    assert resolved(LinearOptions(), 384) == LinearOptions()
