"""The checkpoints of pre-training that the authors of PatchMix released: the plain backbone of one of their networks.

A file holds `state_dict`, beside which periodic ones have `epoch`, `arch`, `optimizer` and `scaler`. Its names begin
with `base_encoder.` (the student), `momentum_encoder.` (the teacher, where there is one) and `predictor.`, perhaps
after `module.`; an encoder is a ViT in timm's names with the projector as its `head`. Projector and predictor are
counted and left out; what the backbone lacks or has too much is told by the host, name by name.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn import Imported
from sslcli.nn.loading import some
from sslcli.words import counted
from sslcli_patchmix.import_options import PatchMixImportOptions
from sslcli_patchmix.released import recipe_of, shape_of

ENCODERS = {"teacher": "momentum_encoder.", "student": "base_encoder."}
LAYOUT = "files of pre-training hold a state_dict of base_encoder, momentum_encoder and predictor"


def import_patchmix(options: PatchMixImportOptions, document: Any) -> Imported:
    """The backbone of a released file, and the recipe that trains one of its size."""
    tensors = tensors_of(document)
    encoder = encoder_of(tensors, options.network)
    backbone = {name: tensor.float() for name, tensor in encoder.items() if not name.startswith("head.")}
    shape = shape_of(backbone, options.heads)
    recipe, kinship = recipe_of(shape, options.data, teacher=options.network == "teacher")
    epoch = options.epochs or epoch_in(document)
    heads = len(encoder) - len(backbone) + sum(name.startswith("predictor.") for name in tensors)
    length = f"{counted(epoch, 'epoch')} of training" if epoch else "the file does not say how long it was trained"
    said = [
        f"{shape.said()}: {len(backbone)} tensors of the {options.network}'s backbone; left out: {heads} of its heads",
        f"{kinship}; {length}",
    ]
    return Imported(backbone, recipe, epoch, "\n".join(said))


def tensors_of(document: Any) -> dict[str, Tensor]:
    """The tensors of a file by their names, without `module.`."""
    state = document.get("state_dict", document) if isinstance(document, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise UserError(f"the file is no checkpoint of PatchMix: it holds {held(document)}", LAYOUT)
    tensors = {str(name).removeprefix("module."): value for name, value in state.items() if isinstance(value, Tensor)}
    if len(tensors) < len(state) or not any(map(known, tensors)):
        raise UserError(f"the file is no checkpoint of PatchMix's pre-training: it holds {held(state)}", LAYOUT)
    strangers = tuple(name for name in tensors if not known(name))
    if strangers:
        raise UserError(f"PatchMix's files have no {some(strangers, 8)}", LAYOUT)
    return tensors


def known(name: str) -> bool:
    """Whether a tensor belongs to a network of PatchMix."""
    return name.startswith((*ENCODERS.values(), "predictor."))


def encoder_of(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The tensors of the student or of the teacher, by their plain names."""
    prefix = ENCODERS[network]
    encoder = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    if not encoder:
        other = next(name for name in ENCODERS if name != network)
        raise UserError(
            f"the file holds no {prefix.rstrip('.')}, the {network}; ViT-T was released with settings that have none",
            f"take the {other}: --set network={other}",
        )
    return encoder


def epoch_in(document: Any) -> float:
    """How many epochs were behind a file, as periodic ones say; 0 where it does not."""
    epoch = document.get("epoch")
    return float(epoch) if isinstance(epoch, int | float) and 0 < epoch < float("inf") else 0.0


def held(document: Any) -> str:
    """The first names of what a file holds, or what it is."""
    if isinstance(document, Mapping):
        return some(tuple(map(str, document)), 8) or "nothing"
    return f"a {type(document).__name__}"
