"""A trained backbone on disk: `backbone.safetensors` and `config.json`, in the layout of the Hugging Face Hub.

    timm.create_model("local-dir:RUN", pretrained=True)             opens the folder as it is
    load_into(backbone, load_state("RUN"))                          gives a backbone of ours its weights

`config.json` has one key more than timm wants, "sslcli": the card, which says how to build and feed the backbone here.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sslcli import __version__
from sslcli.disk import write_whole
from sslcli.errors import RunError, UserError
from sslcli.nn.backbone import Backbone
from sslcli.nn.experts import experts_in
from sslcli.nn.loading import Report, load_into
from sslcli.nn.references import WEIGHTS, load_state

__all__ = ["CONFIG", "WEIGHTS", "Report", "load_into", "load_state", "read_card", "read_config", "save_backbone"]

CONFIG = "config.json"


def save_backbone(folder: Path | str, backbone: Backbone, card: Mapping[str, Any]) -> None:
    """Write weights, then config, each beside its place and renamed into it when it is whole.

    Of the card, `image_size`, `mean`, `std` and `crop_share` also go where timm looks for them. Raises `RunError` when
    the disk will not take them; what was there before is then still there.
    """
    folder = Path(folder)
    tensors = {name: owned(tensor) for name, tensor in backbone.exported.state_dict().items()}
    text = json.dumps(config_of(backbone, card), indent=2)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
        write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as failure:
        raise RunError(
            f"cannot write the backbone to {folder}: {failure}", "make room, or choose another folder"
        ) from failure


def owned(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU, in memory of its own."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def config_of(backbone: Backbone, card: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` holds."""
    built = backbone.timm_config() or {"architecture": why_not_timm(backbone), "model_args": {}}
    return {
        "architecture": built["architecture"],
        "num_classes": 0,
        "num_features": backbone.width,
        "global_pool": built["model_args"].get("global_pool", "avg"),
        "model_args": built["model_args"],
        "pretrained_cfg": pretrained_config(backbone, card),
        "sslcli": {"version": __version__, **card},
    }


def why_not_timm(backbone: Backbone) -> str:
    """What timm's own error will show for a network that it does not have."""
    if any(True for _ in experts_in(backbone)):
        return "none: a mixture of experts, of which one must be picked for each block first"
    return f"none: timm cannot build this {type(backbone).__name__}, load it with sslcli"


def pretrained_config(backbone: Backbone, card: Mapping[str, Any]) -> dict[str, Any]:
    """How timm prepares pictures for the network, and which of its layers to adapt or to leave out for a new task."""
    layers = getattr(backbone.exported, "pretrained_cfg", None) or {}
    size = card.get("image_size", 224)
    return {
        "tag": "sslcli",
        "custom_load": False,
        "input_size": [3, size, size],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": card.get("crop_share", 0.875),
        "crop_mode": "center",
        "mean": list(card.get("mean", (0.485, 0.456, 0.406))),
        "std": list(card.get("std", (0.229, 0.224, 0.225))),
        "num_classes": 0,
        "first_conv": layers.get("first_conv"),
        "classifier": layers.get("classifier"),
    }


def read_card(path: Path | str) -> dict[str, Any]:
    """The card of a saved backbone: of its folder, its `config.json`, or its weights file."""
    return dict(read_config(path)["sslcli"])


def read_config(path: Path | str) -> dict[str, Any]:
    """The `config.json` of a saved backbone, by its folder, by itself, or by the weights file. Raises UserError."""
    path = Path(path)
    file = path / CONFIG if path.is_dir() else path.with_name(CONFIG)
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        config["architecture"], config["model_args"], dict(config["sslcli"])
    except FileNotFoundError:
        raise UserError(f"{file} does not exist", "name a run that has saved its backbone") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{file} was not written by sslcli, or is damaged", "name a run of sslcli") from None
    return config
