"""For timm: `model.safetensors` and `config.json` in the layout of the Hub, opened by `local-dir:` and `hf-hub:`."""

import json
from pathlib import Path

import timm

from sslcli.errors import UserError
from sslcli.evaluation.exporting.answers import agreed, answer, batch
from sslcli.evaluation.exporting.choosing import Chosen
from sslcli.evaluation.exporting.written import Written, count_equal, named, save
from sslcli.nn.encoders import TimmNetwork
from sslcli.nn.stored import CONFIG, config_of

PACKAGES: tuple[str, ...] = ()
EXTRA = ""
WEIGHTS = "model.safetensors"  # as the Hub names it
LIMIT = 1e-4
LOADING = """import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()
shown = timm.data.create_transform(**timm.data.resolve_model_data_config(model))  # a picture of PIL as the model wants
vector = model(shown(picture)[None])  # [1, {width}]"""


def write(chosen: Chosen, folder: Path) -> Written:
    """Both files, opened again by timm. Raises UserError where timm has no such network."""
    backbone = chosen.backbone
    if not backbone.timm_config():
        raise UserError(
            f"timm has no network like this {type(backbone).__name__}: its stem, width or padding is not timm's",
            "use '--to safetensors', or '--to onnx'",
        )
    own = backbone.exported.state_dict()
    save(own, folder / WEIGHTS)
    config = json.dumps(config_of(backbone, chosen.facts), indent=2)
    (folder / CONFIG).write_text(config, encoding="utf-8")
    images = batch(chosen.size)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    difference = agreed(answer(backbone, images), answer(TimmNetwork(model), images), "timm", LIMIT)
    found = count_equal(own, model.state_dict())
    return Written(named("timm"), found, len(own), difference, LOADING.format(width=backbone.width), "timm")
