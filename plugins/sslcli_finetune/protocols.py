"""Numbers of training by protocol: those of the methods' papers and codes, and `small` for sets of our own.

A protocol is a table of what differs from `Settings`; where it depends on the size of the network, the entry of the
nearest width is laid over it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from sslcli_finetune.options import TrainingOptions

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Every number of a training, as `TrainingOptions` explains them. The defaults are the protocol `small`."""

    epochs: tuple[float, ...] = (30.0,)
    steps: int = 0  # 0: by epochs
    lr: tuple[float, ...] = (1e-3,)
    lr_batch: int = 0
    final_lr: float = 1e-6
    warmup: float = 3.0
    optimizer: str = "adamw"
    weight_decay: tuple[float, ...] = (0.05,)
    decay_by_lr: bool = False
    layer_decay: float = 0.75
    drop_path: float = 0.1
    batch_size: int = 64
    accumulation: int = 1
    mixup: float = 0.0
    cutmix: float = 0.0
    smoothing: float = 0.1
    rand_augment: float = 0.0
    erase: float = 0.0
    least_area: float = 0.3
    vector: str = "auto"
    head_hidden: int = 0
    head_std: float = 2e-5
    ema: float = 0.0
    best: bool = False

    def candidates(self) -> Iterator["Settings"]:
        """One of each number of which several are to be tried."""
        for lr, decay, epochs in product(self.lr, self.weight_decay, self.epochs):
            yield replace(self, lr=(lr,), weight_decay=(decay,), epochs=(epochs,))

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    def warmups(self) -> tuple[float, ...]:
        """The warm-up of each length, in epochs: half of it at most, as `length_of` cuts it; by steps, as given."""
        cut = [self.warmup if self.steps else min(self.warmup, epochs / 2) for epochs in self.epochs]
        return tuple(dict.fromkeys(cut))

    def said(self, *, warmup: float | None = None) -> str:
        """All numbers in a line; the warm-up as it was, or where that is not known as far as the epochs go."""
        warmups = self.warmups() if warmup is None else (float(f"{warmup:.4g}"),)
        known = asdict(self) | {"warmup": warmups}
        shown = {name: "/".join(map(str, v)) if isinstance(v, tuple) else v for name, v in known.items()}
        return ", ".join(f"{name} {value}" for name, value in shown.items())


MIXED: Table = {"mixup": 0.8, "cutmix": 1.0, "smoothing": 0.1, "rand_augment": 9.0, "erase": 0.25, "least_area": 0.08}
PLAIN: Table = {"smoothing": 0.0, "rand_augment": 0.0, "erase": 0.0, "least_area": 0.08, "drop_path": 0.0}
SGD: Table = {**PLAIN, "optimizer": "sgd", "layer_decay": 1.0, "final_lr": 0.0, "warmup": 0.0, "head_std": 0.01}

MAE: Table = {**MIXED, "vector": "fresh", "lr_batch": 256, "batch_size": 1024, "warmup": 5.0, "final_lr": 1e-6}
MUGS: Table = {**MIXED, "vector": "cls", "lr_batch": 0, "final_lr": 1e-6, "layer_decay": 0.55}
PATCHMIX: Table = {**MIXED, "vector": "cls", "lr_batch": 256, "batch_size": 1024, "epochs": (100.0,), "warmup": 10.0}
SEMI_MUGS: Table = {
    **MIXED,
    "epochs": (1000.0,),
    "lr": (5e-6,),
    "lr_batch": 512,
    "final_lr": 1e-5,
    "warmup": 5.0,
    "batch_size": 1024,
    "layer_decay": 1.0,
    "vector": "cls",
    "head_hidden": 2048,
    "head_std": 0.02,
}
SSL_TRANSFER: Table = {
    **SGD,
    "steps": 5000,
    "batch_size": 64,
    "lr": (1e-4, 1e-3, 1e-2, 1e-1),
    "weight_decay": (0.0, 1e-6, 1e-5, 1e-4, 1e-3),
    "decay_by_lr": True,
}
RELIC_SEMI: Table = {
    **SGD,
    "weight_decay": (0.0,),
    "batch_size": 1024,
    "lr": (0.005, 0.01, 0.02, 0.05, 0.1),
    "epochs": (30.0, 50.0),
}
RELIC_TRANSFER: Table = {
    **SGD,
    "steps": 20000,
    "batch_size": 256,
    "lr": tuple(10 ** (-4 + power / 2) for power in range(7)),
    "weight_decay": (0.0, *(10 ** (-6 + power / 2) for power in range(7))),
    "decay_by_lr": True,
}

PROTOCOLS: Mapping[str, Table] = {
    "small": {},
    "mae": MAE,
    "mugs": MUGS,
    "patchmix": {**PATCHMIX, "layer_decay": 0.75, "drop_path": 0.1, "final_lr": 1e-5},
    "relicv2": RELIC_SEMI,
    "semi/mugs": SEMI_MUGS,
    "transfer/ssl_transfer": SSL_TRANSFER,
    "transfer/relicv2": RELIC_TRANSFER,
}
BY_WIDTH: Mapping[str, Mapping[int, Table]] = {
    "small": {96: {"lr": (3e-3,)}, 384: {"lr": (5e-4,)}, 768: {"lr": (2.5e-4,)}},
    "mae": {
        768: {"epochs": (100.0,), "lr": (5e-4,), "layer_decay": 0.65, "drop_path": 0.1},
        1024: {"epochs": (50.0,), "lr": (1e-3,), "layer_decay": 0.75, "drop_path": 0.2},
        1280: {"epochs": (50.0,), "lr": (1e-3,), "layer_decay": 0.75, "drop_path": 0.3},
    },
    "mugs": {
        384: {"epochs": (200.0,), "lr": (1.2e-3,), "warmup": 20.0, "drop_path": 0.1, "batch_size": 1024},
        768: {"epochs": (100.0,), "lr": (1.2e-3,), "warmup": 20.0, "drop_path": 0.2, "batch_size": 1024},
        1024: {
            "epochs": (50.0,),
            "lr": (8e-4,),
            "warmup": 5.0,
            "drop_path": 0.3,
            "batch_size": 512,
            "layer_decay": 0.75,
        },
    },
    "patchmix": {192: {"lr": (1e-3,)}, 384: {"lr": (5e-4,)}, 768: {"lr": (5e-4,)}},
}


def settings_of(options: TrainingOptions, protocol: str, width: int, evaluation: str = "") -> Settings:
    """A protocol, for a network of this width, with what was typed laid over it.

    Where an evaluation has numbers of its own under the name of a protocol, those are taken. Epochs that are typed
    count also where the protocol counts steps.
    """
    own = f"{evaluation}/{protocol}"
    name = own if own in PROTOCOLS else protocol
    sizes = BY_WIDTH.get(name, {})
    sized = sizes[min(sizes, key=lambda known: abs(known - width))] if sizes else {}
    given = options.given()
    by_epochs = {"steps": 0} if "epochs" in given else {}
    return Settings(**{**PROTOCOLS[name], **sized, **by_epochs, **given})
