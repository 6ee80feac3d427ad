"""Which crops share a forward, and who gets a gradient."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sslcli.api import ViewShape
from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.nn import Backbone, Features
from sslcli.training.encoding import Encoding, crops_read

SHAPES = {"global": ViewShape(2, 8), "local": ViewShape(3, 4), "other": ViewShape(1, 8)}
IMAGES = {group: torch.randn(shape.crops, 5, 3, shape.size, shape.size) for group, shape in SHAPES.items()}


class Recorder(Backbone):
    """A backbone that notes how many images came in each forward; with batch norm, if it should mix them."""

    def __init__(self, *, mixes_batch: bool = False) -> None:
        super().__init__()
        self.mixes_batch = mixes_batch
        self.norm = nn.BatchNorm1d(3, affine=False) if mixes_batch else nn.Identity()
        self.scale = nn.Parameter(torch.ones(()))
        self.forwards: list[int] = []

    def features(self, images: Tensor) -> Features:
        self.forwards.append(len(images))
        pooled = self.norm(images.mean((2, 3))) * self.scale
        return Features(pooled[:, None], pooled[:, None], 0, pooled)


class Packer(Backbone):
    """A backbone whose tokens are its pixels, that notes the shapes of each forward and what it was told."""

    abilities = frozenset({"tokens"})
    packs = True  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.forwards: list[list[tuple[int, int]]] = []
        self.told: list[list[int]] = []

    def features(self, images: Tensor) -> Features:
        return self.encode(self.embed(images))

    def embed(self, images: Tensor, **_: Any) -> Tensor:
        return images.flatten(2).transpose(1, 2)

    def encode(self, tokens: Tensor, *, columns: Any = None, **_: Any) -> Features:
        return self.encode_together([tokens], columns=[columns])[0]

    def encode_together(self, sizes: Any, *, columns: Any = None) -> list[Features]:
        self.forwards.append([tuple(tokens.shape[:2]) for tokens in sizes])
        self.told += [facts["index"].tolist() for facts in columns]
        return [Features(tokens, tokens, 0, tokens.mean(1)) for tokens in sizes]


def encoding(backbone: Backbone, *reads: str, network: str = "student", **how: Any) -> Encoding:
    columns = {"index": torch.arange(5)}
    return Encoding(backbone, crops_read([reads], SHAPES), network, images=IMAGES, columns=columns, **how)


def test_crops_of_one_size_share_a_forward() -> None:
    backbone = Recorder()
    encode = encoding(backbone, "global", "local", "other")
    assert encode("global").pooled.shape == (2, 5, 3)
    assert encode("local").pooled.shape == (3, 5, 3)
    assert sorted(backbone.forwards) == [15, 15]  # (2 + 1) crops of 8 pixels, 3 of 4


def test_with_batch_norm_only_the_crops_of_one_group_do() -> None:
    backbone = Recorder(mixes_batch=True)
    encoding(backbone, "global", "local", "other")("global")
    assert sorted(backbone.forwards) == [5, 10, 15]


def test_apart_each_crop_has_its_own_statistics() -> None:
    backbone = Recorder(mixes_batch=True)
    found = encoding(backbone, "global", together=False)("global").pooled
    assert backbone.forwards == [5, 5]
    for crop, images in enumerate(IMAGES["global"]):
        expected = nn.functional.batch_norm(images.mean((2, 3)), None, None, training=True)
        assert torch.allclose(found[crop], expected, atol=1e-6)


def test_features_are_those_of_their_own_crop_and_are_made_once() -> None:
    backbone = Recorder()
    encode = encoding(backbone, "local:2", "global")
    assert torch.allclose(encode("local:2").pooled, IMAGES["local"][2].mean((2, 3)))
    assert torch.allclose(encode("global:1").pooled, IMAGES["global"][1].mean((2, 3)))
    assert len(backbone.forwards) == 2


@pytest.mark.parametrize(("network", "learns"), [("student", True), ("teacher", False)])
def test_only_the_student_gets_a_gradient(network: str, learns: bool) -> None:
    assert encoding(Recorder(), "global", network=network)("global").pooled.requires_grad is learns


@pytest.mark.parametrize("view", ["local", "local:1", "global:7", "nowhere"])
def test_what_no_loss_reads_is_refused(view: str) -> None:
    with pytest.raises(UserError, match="which no loss reads"):
        encoding(Recorder(), "global", "local:0")(view)


def test_packed_crops_of_all_sizes_share_a_forward() -> None:
    backbone = Packer()
    encode = encoding(backbone, "global", "local", "other", packing="on")
    for group, images in IMAGES.items():
        assert torch.allclose(encode(group).pooled, images.mean((3, 4)), atol=1e-6)
    assert backbone.forwards == [[(15, 64), (15, 16)]]  # (2 + 1) crops of 8 pixels, 3 of 4


def test_packed_crops_keep_the_facts_of_their_own_images() -> None:
    backbone = Packer()
    encoding(backbone, "global", "local:1", packing="on")("global")
    assert backbone.told == [[*range(5), *range(5)], [*range(5)]]


@pytest.mark.parametrize(
    ("how", "forwards"),
    [
        ({"packing": "off"}, 2),
        ({"packing": "auto"}, 2),  # on a CPU
        ({"packing": "on", "together": False}, 6),  # crops apart, whatever the packing
    ],
)
def test_sizes_that_are_not_packed_have_forwards_of_their_own(how: dict[str, Any], forwards: int) -> None:
    backbone = Packer()
    encoding(backbone, "global", "local", "other", **how)("global")
    assert len(backbone.forwards) == forwards
    assert all(len(sizes) == 1 for sizes in backbone.forwards)


def test_packing_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslcli.training.encoding.PACKED_DEVICES", ("cpu",))
    backbone = Packer()
    encoding(backbone, "global", "local", packing="auto")("global")
    assert len(backbone.forwards) == 1


def test_batch_norm_never_sees_two_groups_at_once() -> None:
    backbone = Packer()
    backbone.mixes_batch = True
    encoding(backbone, "global", "local", "other", packing="on")("global")
    assert backbone.forwards == [[(10, 64)], [(15, 16)], [(5, 64)]]


def test_a_backbone_that_cannot_pack_has_a_forward_for_each_size() -> None:
    backbone = Recorder()
    encoding(backbone, "global", "local", packing="on")("global")
    assert sorted(backbone.forwards) == [10, 15]


@pytest.mark.parametrize(("network", "learns"), [("student", True), ("teacher", False)])
def test_packed_too_only_the_student_gets_a_gradient(network: str, learns: bool) -> None:
    backbone = Packer()
    images = {group: crops.clone().requires_grad_() for group, crops in IMAGES.items()}
    crops, columns = crops_read([("global", "local")], SHAPES), {"index": torch.arange(5)}
    encode = Encoding(backbone, crops, network, images=images, columns=columns, packing="on")
    assert encode("local").pooled.requires_grad is learns


TWO_SIZES: dict[str, Any] = {
    "views": {"local": {"augmentation": "multicrop", "crops": 3, "size": 8}},
    "loss": [{"name": "moco_v3", "hidden": 32, "output": 16}, {"name": "simclr", "views": "local"}],
}


@pytest.fixture
def train(tmp_path: Path, tiny_recipe: Callable[..., Path], fresh_registry: None) -> Callable[..., int]:
    """`train("run", packing="on")`: the exit code of a run on crops of two sizes."""

    def call(name: str, /, packing: str, **tables: Any) -> int:
        told = {"packing": packing, "epochs": 2.0, **tables.pop("train", {})}
        path = tiny_recipe(**TWO_SIZES | tables, train=told)
        return run(["pretrain", str(path), "--output", str(tmp_path / name)])

    return call


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_packed_run_has_the_numbers_of_one_that_is_not(
    tmp_path: Path, train: Callable[..., int], monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    from sslcli_vit import backbone

    blocks: list[Any] = []
    packed_block = backbone.packed_block
    monkeypatch.setattr(backbone, "packed_block", lambda *given: blocks.append(given) or packed_block(*given))
    told: dict[str, Any] = {"backbone": {"checkpointing": checkpointing}}
    assert train("off", "off", **told) == 0
    assert blocks == []
    assert train("on", "on", **told) == 0
    assert len(blocks) == 6 * 2 * (1 + checkpointing)  # steps, blocks, again in the backward pass
    for one, other in zip(numbers(tmp_path / "off"), numbers(tmp_path / "on"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def numbers(folder: Path) -> list[dict[str, float]]:
    """What the lines of the metrics say, the speed apart."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [{key: line[key] for key in ("step", "loss", "moco_v3", "simclr")} for line in lines]
    assert len(found) == 6
    assert all(math.isfinite(line["loss"]) for line in found)
    return found


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ({"name": "resnet", "model": "resnet18"}, "the backbone 'resnet' cannot pack"),
        ({"model": "vit_base_patch16_rpn_224"}, "the backbone 'vit' cannot pack"),
    ],
)
def test_who_asks_for_packing_is_told_when_the_backbone_cannot(
    train: Callable[..., int], capsys: pytest.CaptureFixture[str], backbone: dict[str, Any], said: str
) -> None:
    assert train("run", "on", backbone=backbone) == 2
    assert f"train.packing is 'on', but {said}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_packed_run_can_be_compiled(train: Callable[..., int]) -> None:
    options = {"compile": True, "precision": "bf16", "epochs": 1.0}
    assert train("run", "on", train=options, backbone={"drop_path": 0.2}) == 0
