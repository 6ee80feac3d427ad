"""For transformers: a folder that `AutoModel.from_pretrained` and `AutoImageProcessor.from_pretrained` open.

Plain ViTs become a ViTModel, plain ResNets a ResNetModel; anything else is refused, with the reason.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.errors import RunError, UserError
from sslcli.evaluation.card import Card
from sslcli.evaluation.exporting.answers import Answer, agreed, answer, batch
from sslcli.evaluation.exporting.choosing import Chosen
from sslcli.evaluation.exporting.transformers_names import Translated, split_attention, translate
from sslcli.evaluation.exporting.written import Written, named, save

PACKAGES = ("transformers",)
EXTRA = "hf"
LIMIT = 1e-4
BICUBIC = 3  # of PIL
LOADING = """from transformers import AutoImageProcessor, AutoModel

processor = AutoImageProcessor.from_pretrained("FOLDER")
model = AutoModel.from_pretrained("FOLDER"{arguments}).eval()
found = model(**processor(picture, return_tensors="pt"))  # a picture of PIL
vector = found.{vector}  # [1, {width}]"""
VECTORS = {"token": "last_hidden_state[:, 0]", "avg": "last_hidden_state[:, 1:].mean(1)"}  # of a ViT, by timm's pooling


def write(chosen: Chosen, folder: Path) -> Written:
    """Weights, configuration and how pictures are shown; opened again by transformers. Raises UserError."""
    model: Any = chosen.backbone.exported
    translated = translated_or_refused(chosen, model)
    save(translated.weights, folder / "model.safetensors")
    for name, document in (
        ("config.json", {**translated.config, "torch_dtype": "float32"}),
        ("preprocessor_config.json", shown_by(chosen.subject.card)),
    ):
        (folder / name).write_text(json.dumps(document, indent=2), encoding="utf-8")
    opened, unfilled = reopen(folder, translated)
    images = batch(chosen.size)
    difference = agreed(answer(chosen.backbone, images), asked(opened, images, model), "transformers", LIMIT)
    arguments = "".join(f", {name}={value}" for name, value in translated.arguments.items())
    vector = VECTORS[model.global_pool] if translated.image_size else "pooler_output.flatten(1)"
    loading = LOADING.format(arguments=arguments, vector=vector, width=chosen.backbone.width)
    total = len(translated.weights)
    return Written(named("transformers"), total - unfilled, total, difference, loading, "transformers", facts(model))


def translated_or_refused(chosen: Chosen, model: Any) -> Translated:
    """The network in the words of transformers. Raises UserError where it has none for it."""
    translated = translate(model)
    obstacles = list(translated.obstacles)
    if translated.image_size not in (0, chosen.size):
        native = translated.image_size
        obstacles.append(f"it is shown {chosen.size} pixels, but its table of positions is for {native}")
    if translated.image_size and model.global_pool not in VECTORS:
        obstacles.append(f"it pools by {model.global_pool!r}")
    if obstacles:
        raise UserError(f"transformers has no such network: {'; '.join(obstacles)}", "use '--to timm'")
    return translated


def reopen(folder: Path, translated: Translated) -> tuple[nn.Module, int]:
    """What transformers makes of the folder, and how many of our tensors it did not take. Raises RunError."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    own = dict(translated.arguments)
    model, info = AutoModel.from_pretrained(str(folder), output_loading_info=True, local_files_only=True, **own)
    if info["missing_keys"] or info.get("mismatched_keys"):
        misfit = sorted(map(str, [*info["missing_keys"], *info.get("mismatched_keys", ())]))
        raise RunError(f"transformers finds no weights for {misfit[0]}", "nothing was written; use '--to timm'")
    return model.eval(), len(info["unexpected_keys"])


@torch.no_grad()
def asked(opened: nn.Module, images: Tensor, model: Any) -> Answer:
    """What transformers says of images `[B, 3, S, S]`, laid out as the run says it."""
    found = opened(images)
    tokens = found.last_hidden_state
    if tokens.ndim == 4:
        return Answer(found.pooler_output.flatten(1), tokens.flatten(2).transpose(1, 2))
    return Answer(tokens[:, 1:].mean(1) if model.global_pool == "avg" else tokens[:, 0], tokens)


def shown_by(card: Card) -> dict[str, Any]:
    """`preprocessor_config.json`: the shorter side resized, the middle cut out, colours normalised."""
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": card.resized},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": card.image_size, "width": card.image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(card.mean),
        "image_std": list(card.std),
    }


def facts(model: Any) -> dict[str, str]:
    """What a reader must know of the tensors: timm joins query, key and value."""
    state = model.state_dict()
    joined = len(split_attention(state)) - len(state)
    return {"tensors": "query, key and value of each block are three tensors here, one in timm"} if joined else {}
