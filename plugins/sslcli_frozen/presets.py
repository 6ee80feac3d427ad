"""The linear protocols of the methods that this package trains, as options of `sslcli eval linear`.

Rates are for 256 pictures and grow with the batch. Where a protocol has other numbers for another size of the network,
the width of its tokens tells which: 192, 384, 768 and 1024 are those of ViT-T, ViT-S, ViT-B and ViT-L. Where it gives
several rates, for longer and shorter trainings, all are tried.
"""

from collections.abc import Mapping
from typing import Any

from sslcli_frozen.options import LinearOptions

Choices = Mapping[str, Any]

NINE = tuple(float(f"{digit}e{power}") for power in (-4, -3, -2, -1) for digit in range(1, 10))
MUGS_SMALL = {"layers": (4,), "pooling": ("cls",), "lrs": (0.01, 0.015, 0.02), "batch_size": 1024}
MUGS_BASE = {"layers": (1,), "pooling": ("both",), "lrs": (0.002,), "batch_size": 512, "final_lr": 1e-5}
MUGS_LARGE = {
    "layers": (1,),
    "pooling": ("both",),
    "lrs": NINE,
    "weight_decays": (0.0, 1e-6, 1e-5, 1e-4, 1e-3),
    "optimizers": ("sgd", "lars"),
    "batch_size": 1024,
    "final_lr": 1e-5,
}
PATCHMIX = {"nesterov": True, "moves": "epoch", "start": "torch", "epochs": 100, "layers": (1,), "pooling": ("cls",)}

ALWAYS: Mapping[str, Choices] = {
    "mugs": {"epochs": 100, "moves": "epoch"},
    "patchmix": PATCHMIX,
    "mae": {
        "epochs": 90,
        "batch_size": 16384,
        "lrs": (0.1,),
        "optimizers": ("lars",),
        "warmup_epochs": 10.0,
        "batch_norm": True,
        "fit": "clip",
        "layers": (1,),
        "pooling": ("cls",),
    },
    "relicv2": {"epochs": 100, "batch_size": 1024, "lrs": (0.3,), "nesterov": True},
}
BY_WIDTH: Mapping[str, Mapping[int, Choices]] = {
    "mugs": {384: MUGS_SMALL, 768: MUGS_BASE, 1024: MUGS_LARGE},
    "patchmix": {
        192: {"lrs": (0.05,), "batch_size": 256},
        384: {"lrs": (0.02,), "batch_size": 1024},
        768: {"lrs": (0.01,), "batch_size": 1024},
    },
    "mae": {1024: {"epochs": 50}, 1280: {"epochs": 50}},
}
USUAL = 384  # the width whose numbers hold where a protocol says nothing about a network's own


def resolved(options: LinearOptions, width: int) -> LinearOptions:
    """The options with those of their protocol for tokens of this width, but for what a person said themselves."""
    if not options.protocol:
        return options
    sizes = BY_WIDTH.get(options.protocol, {})
    preset = {"augment": True, **ALWAYS[options.protocol], **sizes.get(width, sizes.get(USUAL, {}))}
    return options.model_copy(update={n: v for n, v in preset.items() if n not in options.model_fields_set})
