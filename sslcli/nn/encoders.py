"""What turns images into the vectors that are judged: a backbone and a pooling, any timm model, or nothing at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import timm
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone
from sslcli.nn.features import Features
from sslcli.nn.stored import WEIGHTS, load_into, load_state, read_config

Pool = Literal["auto", "cls", "mean"]


class Pooled(nn.Module):
    """Images to one vector each, `[B, 3, H, W]` to `[B, D]`, by a backbone's own pooling or another one."""

    def __init__(self, backbone: Backbone, pool: Pool = "auto") -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = pool

    def forward(self, images: Tensor) -> Tensor:
        """One vector an image."""
        return pooled(self.backbone.features(images), self.pool)


def pooled(features: Features, pool: Pool) -> Tensor:
    """The backbone's own vector (`auto`), or after its last norm the CLS token or the mean of the patch tokens."""
    if pool == "cls" and not features.prefix:
        raise UserError("this backbone has no CLS token", "use '--pool auto' or '--pool mean'")
    if pool == "auto":
        return features.pooled
    return features.cls if pool == "cls" else features.patches.mean(dim=-2)


class Pixels(nn.Module):
    """The pixels themselves: what a backbone must beat."""

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 3, H, W]` to `[B, 3 * H * W]`."""
        return images.flatten(1)


class TimmNetwork(Backbone):
    """Any image model of timm, for judging: its last tokens or map, and the vector that its own head would read."""

    def __init__(self, model: Any, built_by: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.model = model
        self.built_by = dict(built_by or {})  # architecture and model_args, where they are known
        self.width = model.num_features
        self.prefix_tokens = getattr(model, "num_prefix_tokens", 0)

    @classmethod
    def create(cls, architecture: str, **arguments: Any) -> "TimmNetwork":
        """A network of timm at its random start, which knows how it was built and can be saved so."""
        built_by = {"architecture": timm.models.get_arch_name(architecture), "model_args": arguments}
        return cls(timm.create_model(architecture, **arguments), built_by)

    def timm_config(self) -> dict[str, Any]:
        """Architecture and arguments of the same network in timm, where they are known."""
        return self.built_by

    def features(self, images: Tensor) -> Features:
        """Features of normalised images `[B, 3, H, W]`; those before the last norm are not kept apart."""
        found = self.model.forward_features(images)
        tokens = self.in_rows(found)
        return Features(tokens, tokens, self.prefix_tokens, self.model.forward_head(found, pre_logits=True))

    def in_rows(self, found: Tensor) -> Tensor:
        """Tokens `[B, N, D]`, also from maps with channels first or last."""
        if found.ndim == 4 and str(getattr(self.model, "output_fmt", "NCHW")).upper().endswith("NCHW"):
            found = found.permute(0, 2, 3, 1)
        return found.flatten(1, 2) if found.ndim == 4 else found

    @property
    def exported(self) -> nn.Module:
        """The timm model."""
        exported: nn.Module = self.model
        return exported


def open_network(folder: Path) -> tuple[TimmNetwork, dict[str, Any]]:
    """A backbone that was saved with a timm architecture, with its weights, and its `config.json`. Raises UserError."""
    config = read_config(folder)
    if not timm.is_model(config["architecture"]):
        raise UserError(
            f"{folder} is a backbone that timm does not have ({config['architecture']})",
            "upgrade timm, or name another",
        )
    network = TimmNetwork.create(config["architecture"], **config["model_args"])
    load_all(network, load_state(folder / WEIGHTS), str(folder / WEIGHTS))
    return network, config


def load_all(network: Backbone, state: Mapping[str, Tensor], origin: str) -> None:
    """Every tensor of the weights, and none besides."""
    report = load_into(network, state)
    if report.missing or report.unexpected:
        raise UserError(f"{origin} does not fit its own description: {report.text()}", "save the backbone again")
