"""A trained classifier as a plain network of timm, and on disk where `timm.create_model("local-dir:DIR")` opens it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from sslcli.disk import write_whole
from sslcli.errors import RunError, UserError
from sslcli.nn.stored import CONFIG, pretrained_config
from sslcli_finetune.classifier import Classifier

MODEL = "model.safetensors"
POOLS = {"cls": {"global_pool": "token"}, "mean": {"global_pool": "avg"}}


def refuse_folder(folder: Path) -> None:
    """Refuse to write over what is there, or where nothing can be written. Raises UserError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already", "name a new folder: --keep DIR")
    nearest = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
        raise UserError(f"{folder} cannot be made: {nearest} takes no folders", "name another folder: --keep DIR")


def timm_twin(classifier: Classifier, image_size: int) -> tuple[nn.Module, dict[str, Any]]:
    """The network of timm that gives the same logits, and how it is built. Raises UserError where timm has none."""
    built = classifier.backbone.timm_config()
    if not built or not isinstance(classifier.head, nn.Linear):
        raise UserError(
            f"timm has no network like this {type(classifier.backbone.exported).__name__} with its head",
            "leave out --keep; of a mixture of experts, pick one for each block first",
        )
    arguments = built["model_args"] | arguments_of(classifier) | {"num_classes": classifier.head.out_features}
    twin: Any = timm.create_model(built["architecture"], **arguments)
    state = dict(classifier.backbone.exported.state_dict())
    if classifier.norm is not None:
        state |= {f"fc_norm.{name}": tensor for name, tensor in classifier.norm.state_dict().items()}
    twin.load_state_dict(state, strict=False)
    twin.get_classifier().load_state_dict(classifier.head.state_dict())
    refuse_other(twin, classifier, image_size)
    return twin, {"architecture": built["architecture"], "model_args": arguments}


def arguments_of(classifier: Classifier) -> dict[str, Any]:
    """What timm calls the way from tokens to the vector, for a network of blocks."""
    if not hasattr(classifier.backbone.exported, "blocks"):
        return {}
    if classifier.norm is not None:
        return {"global_pool": "avg", "fc_norm": True}
    return POOLS.get(classifier.pool, {})


@torch.no_grad()
def refuse_other(twin: nn.Module, classifier: Classifier, image_size: int) -> None:
    """Hold both networks against each other on noise. Raises UserError."""
    images = torch.randn(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    modes = classifier.training, twin.training
    found, wanted = twin.cpu().eval()(images), classifier.eval()(images)
    classifier.train(modes[0]), twin.train(modes[1])
    if not torch.allclose(found, wanted, rtol=1e-3, atol=1e-5):
        raise UserError("timm's network does not answer as this one does", "leave out --keep, or use '--vector auto'")


def write_classifier(
    folder: Path, classifier: Classifier, classes: Sequence[str], card: Mapping[str, Any], image_size: int
) -> None:
    """Write `model.safetensors` and `config.json`. Raises RunError when the disk will not take them."""
    twin, built = timm_twin(classifier, image_size)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in twin.state_dict().items()}
    text = json.dumps(config_of(classifier, twin, built, classes, card), indent=2, ensure_ascii=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / MODEL, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
        write_whole(folder / CONFIG, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as failure:
        raise RunError(f"cannot keep the network in {folder}: {failure}", "make room, or name another folder") from None


def config_of(
    classifier: Classifier, twin: Any, built: Mapping[str, Any], classes: Sequence[str], card: Mapping[str, Any]
) -> dict[str, Any]:
    """What `config.json` holds, in the layout of the Hugging Face Hub."""
    shown = pretrained_config(classifier.backbone, card)
    return {
        **built,
        "num_classes": len(classes),
        "num_features": twin.num_features,
        "global_pool": str(getattr(twin, "global_pool", "avg")),
        "label_names": list(classes),
        "pretrained_cfg": shown | {"num_classes": len(classes), "tag": "finetuned"},
    }
