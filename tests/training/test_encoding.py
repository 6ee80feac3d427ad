"""Which crops share a forward, and who gets a gradient."""

import pytest
import torch
from torch import Tensor, nn

from sslcli.api import ViewShape
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


def encoding(backbone: Backbone, *reads: str, network: str = "student", together: bool = True) -> Encoding:
    return Encoding(backbone, crops_read([reads], SHAPES), network, images=IMAGES, columns={}, together=together)


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
