"""The released checkpoints of Mugs: which of their layouts a file has, and the plain backbone inside it.

A full file holds `student` and `teacher`, their memories, queues, optimizer and arguments; a backbone-only file the
tensors of one network, flat or below `state_dict` or `teacher`. Names may begin with `module.` and `backbone.`. Of a
network the backbone is taken; relation blocks and heads are known, counted and left out, as evaluation does not use
them. Anything else is refused by name.
"""

import re
from argparse import Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sslcli.errors import UserError
from sslcli.nn import Imported
from sslcli.nn.loading import some
from sslcli.words import counted
from sslcli_mugs.import_options import MugsImportOptions
from sslcli_mugs.released import image_of, recipe_of, shape_of

NETWORKS = ("teacher", "student")
BESIDES = (  # what a full file holds beside the networks
    *("student_mem", "teacher_mem", "instance-sup.", "local-group-sup.", "group-sup."),
    *("optimizer", "epoch", "args", "fp16_scaler"),
)
ENDS = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")
LAYERS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
BLOCK = tuple(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias"))
IN_BLOCK = re.compile(r"blocks\.(\d{1,3})\.")
RELATION = re.compile(rf"relation_blocks\.\d+\.({'|'.join(map(re.escape, BLOCK))})")
NORM = r"weight|bias|running_mean|running_var|num_batches_tracked"  # a linear layer, or the batch norm behind it
HEADS = re.compile(
    rf"(instance|local_group)_head\.(projector|predictor)\.\d+\.({NORM})"
    rf"|group_head\.projector\.\d+\.({NORM})"
    r"|group_head\.last_layer\.(weight_g|weight_v|parametrizations\.weight\.original[01])"  # old and new weight norm
)
LAYOUTS = "full files hold student and teacher; others the backbone's tensors, flat or below state_dict or teacher"


@dataclass(frozen=True)
class Network:
    """The tensors of one network by their plain names, and what else was found beside the backbone."""

    backbone: Mapping[str, Tensor]
    relation: int  # tensors of relation blocks
    heads: int  # tensors of projectors, predictors and prototypes


def import_mugs(options: MugsImportOptions, document: Any) -> Imported:
    """The backbone of a released file, and the recipe that trains one of its size."""
    place, tensors, passed_over = find_network(document, options.network)
    network = sorted_out(place, tensors)
    shape = shape_of(network.backbone, image_of(network.backbone), options.heads)
    epochs = options.epochs or epochs_in(document.get("args"))
    recipe, kinship = recipe_of(shape, epochs, teacher=options.network == "teacher")
    done = number(document.get("epoch")) or float(options.epochs or 0)
    left_out = f"{network.relation} tensors of relation blocks and {network.heads} of heads"
    length = f"{counted(done, 'epoch')} of training" if done else "the file does not say how long it was trained"
    said = [
        f"{shape.said()}: {len(network.backbone)} tensors of its backbone, from the {place}; left out: {left_out}",
        f"{kinship}; {length}",
        *([f"passed over, being no weights: {', '.join(passed_over)}"] if passed_over else []),
    ]
    weights = {name: tensor.float() for name, tensor in network.backbone.items()}
    return Imported(weights, recipe, done, "\n".join(said))


def find_network(document: Any, wanted: str) -> tuple[str, Mapping[Any, Any], list[str]]:
    """Where a network is, its entries by their names there, and the entries beside it that Mugs' files do not have."""
    if not isinstance(document, Mapping) or not document:
        raise UserError(f"the file holds {kind_of(document)}, and no tensors by name", LAYOUTS)
    wrapped = [name for name in NETWORKS if isinstance(document.get(name), Mapping)]
    if wrapped:
        return wanted, chosen(document, wrapped, wanted), others(document, (*NETWORKS, *BESIDES))
    if wanted != "teacher":
        raise UserError(f"the file does not hold a {wanted}: it has one network, without saying which", LAYOUTS)
    if isinstance(document.get("state_dict"), Mapping):
        return "state_dict", document["state_dict"], others(document, ("state_dict", *BESIDES))
    words = [name for name, value in document.items() if not holds_tensors(value)]
    flat = {name: value for name, value in document.items() if name not in words}
    if not any(isinstance(value, Tensor) for value in flat.values()):
        raise UserError(f"the file is no checkpoint of Mugs: it holds {listed(document)}", LAYOUTS)
    return "file", flat, [str(name) for name in words if name not in BESIDES]


def chosen(document: Mapping[Any, Any], wrapped: list[str], wanted: str) -> Mapping[Any, Any]:
    """The network that is wanted, of those that the file holds."""
    if wanted not in wrapped:
        raise UserError(f"the file holds the {wrapped[0]} alone, no {wanted}", f"take it: --set network={wrapped[0]}")
    network: Mapping[Any, Any] = document[wanted]
    return network


def others(document: Mapping[Any, Any], known: Iterable[str]) -> list[str]:
    """Entries that Mugs' files do not have: weights are refused by name, words and numbers are passed over."""
    unknown = [name for name in document if name not in set(known)]
    weights = [name for name in unknown if holds_tensors(document[name])]
    if weights:
        raise UserError(f"Mugs' files have no {listed(weights)}, which holds tensors", LAYOUTS)
    return [str(name) for name in unknown]


def holds_tensors(value: Any) -> bool:
    """Whether there is a tensor in an entry, however deep."""
    if isinstance(value, Mapping):
        return any(map(holds_tensors, value.values()))
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(holds_tensors, value)))


def sorted_out(place: str, tensors: Mapping[Any, Any]) -> Network:
    """Backbone, relation blocks and heads of a network; every name that is unknown or missing is told."""
    plain = without_prefixes(tensors)
    relation = {name for name in plain if RELATION.fullmatch(name)}
    heads = {name for name in plain if HEADS.fullmatch(name)}
    backbone = {name: plain[name] for name in plain if name not in relation | heads}
    expected = names_of_backbone(backbone)
    if backbone.keys().isdisjoint(expected):
        raise UserError(f"the {place} has no backbone of Mugs: it holds {listed(tensors) or 'nothing'}", LAYOUTS)
    wrong = {
        "missing": [name for name in expected if name not in backbone],
        "unknown": [name for name in backbone if name not in set(expected)],
        "no tensors": [name for name in expected if not isinstance(backbone.get(name, Tensor()), Tensor)],
    }
    said = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
    if said:
        raise UserError(f"the {place} has no whole backbone of Mugs; {said}", "is the file whole, and one of Mugs?")
    return Network({name: backbone[name] for name in expected}, len(relation), len(heads))


def without_prefixes(tensors: Mapping[Any, Any]) -> dict[str, Any]:
    """The entries without `module.`, which DistributedDataParallel puts before names, and without `backbone.`."""
    plain: dict[str, Any] = {}
    for name, value in tensors.items():
        short = str(name).removeprefix("module.").removeprefix("backbone.")
        if short in plain:
            raise UserError(f"the file has {short} twice, under two prefixes", "keep one of the two networks in it")
        plain[short] = value
    return plain


def names_of_backbone(tensors: Iterable[str]) -> list[str]:
    """The names of a ViT with as many blocks as the number of the last one says, and at least one."""
    found = [int(match[1]) for match in map(IN_BLOCK.match, tensors) if match]
    depth = max(found, default=0) + 1
    return [*ENDS[:4], *(f"blocks.{block}.{name}" for block in range(depth) for name in BLOCK), *ENDS[4:]]


def epochs_in(arguments: Any) -> int | None:
    """How many epochs the training was to have, by the arguments that a full file keeps."""
    said = vars(arguments) if isinstance(arguments, Namespace) else arguments
    epochs = number(said.get("epochs")) if isinstance(said, Mapping) else 0.0
    return int(epochs) or None


def number(value: Any) -> float:
    """A positive number, or 0 for anything else."""
    return float(value) if isinstance(value, int | float) and 0 < value < float("inf") else 0.0


def listed(names: Iterable[Any]) -> str:
    """The first names, whatever they are, and how many more there are."""
    return some(tuple(map(str, names)), 8)


def kind_of(document: Any) -> str:
    """What a document is that is no mapping, or an empty one."""
    return "nothing" if isinstance(document, Mapping) else f"a {type(document).__name__}"
