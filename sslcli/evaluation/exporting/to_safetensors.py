"""One file of plain weights, `model.safetensors`, whose metadata say what network they are of and what made it."""

import json
from copy import deepcopy
from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import Tensor

from sslcli.evaluation.exporting.answers import agreed, answer, batch
from sslcli.evaluation.exporting.choosing import Chosen
from sslcli.evaluation.exporting.written import Written, count_equal, named, save
from sslcli.nn import Backbone
from sslcli.nn.encoders import TimmNetwork

PACKAGES: tuple[str, ...] = ()
EXTRA = ""
WEIGHTS = "model.safetensors"
LIMIT = 1e-4
OF_TIMM = """import json

import timm
from safetensors import safe_open
from safetensors.torch import load_file

file = "FOLDER/model.safetensors"
said = safe_open(file, "pt").metadata()
model = timm.create_model(said["architecture"], **json.loads(said["model_args"])).eval()
model.load_state_dict(load_file(file))"""
OF_OTHERS = """from safetensors.torch import load_file

weights = load_file("FOLDER/model.safetensors")  # timm has no such network: the names are those of its nearest one"""


def write(chosen: Chosen, folder: Path) -> Written:
    """The file, loaded again into a network that has forgotten everything."""
    backbone = chosen.backbone
    own = backbone.exported.state_dict()
    save(own, folder / WEIGHTS, metadata_of(chosen))
    weights = load_file(folder / WEIGHTS)
    images = batch(chosen.size)
    filled = with_weights(backbone, weights)
    difference = agreed(answer(backbone, images), answer(filled, images), "the network with the file's weights", LIMIT)
    loading = OF_TIMM if backbone.timm_config() else OF_OTHERS
    return Written(named("safetensors"), count_equal(own, weights), len(own), difference, loading)


def metadata_of(chosen: Chosen) -> dict[str, str]:
    """What the file says of itself; safetensors keeps words alone."""
    built = chosen.backbone.timm_config()
    known = {"architecture": built["architecture"], "model_args": json.dumps(built["model_args"])} if built else {}
    return known | {"sslcli": json.dumps(dict(chosen.facts)), "network": chosen.network, "said": chosen.subject.said}


def with_weights(backbone: Backbone, weights: dict[str, Tensor]) -> Backbone:
    """The same network, by timm where timm has it, that knows nothing but these weights."""
    built = backbone.timm_config()
    if built:
        filled: Backbone = TimmNetwork(timm.create_model(built["architecture"], **built["model_args"]))
    else:
        filled = deepcopy(backbone)
        for tensor in filled.exported.state_dict().values():
            tensor.zero_()
    filled.exported.load_state_dict(weights)
    return filled
