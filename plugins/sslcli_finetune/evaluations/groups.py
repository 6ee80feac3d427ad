"""Parameters in groups by their rate and whether they decay, as MAE's and BEiT's codes for fine-tuning have them.

rate     decay ** (top - layer): layer 0 are embeddings, i + 1 block i, top all that comes after the blocks
decay    matrices; not biases, norms, and what timm says of a network besides: CLS, positions
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from sslcli.errors import UserError
from sslcli.training.optimizer import decays_by_rule, layer_numbers
from sslcli_finetune.classifier import Classifier


def rate_groups(classifier: Classifier, layer_decay: float) -> list[dict[str, Any]]:
    """Groups for `sslcli.training.optimizer`: `params`, `factor` on the rate, and whether it `decays`."""
    layers = layers_below(classifier) if layer_decay < 1.0 else {}
    top = max(layers.values(), default=-1) + 1
    plain = {id(parameter) for parameter in undecayed(classifier.backbone.exported)}
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in classifier.named_parameters():
        decays = decays_by_rule(name, parameter) and id(parameter) not in plain
        factor = layer_decay ** (top - layers.get(id(parameter), top))
        group = groups.setdefault((decays, factor), {"params": [], "decays": decays, "factor": factor})
        group["params"].append(parameter)
    return list(groups.values())


def layers_below(classifier: Classifier) -> dict[int, int]:
    """The layer of each parameter, by its id, up to the last block. The last norm is not among them: it is on top."""
    try:
        layers = layer_numbers(classifier.backbone)
    except UserError as unknown:
        raise UserError(unknown.message, "use '--layer-decay 1'") from None
    norm = getattr(classifier.backbone.exported, "norm", None)
    above = {id(parameter) for parameter in norm.parameters()} if isinstance(norm, nn.Module) else set()
    return {number: layer for number, layer in layers.items() if number not in above}


def undecayed(network: nn.Module) -> list[nn.Parameter]:
    """The tables and tokens of a network of timm that do not decay."""
    ask: Callable[[], set[str]] = getattr(network, "no_weight_decay", set)
    named = ask()
    return [parameter for name, parameter in network.named_parameters() if name in named]
