"""The released checkpoints of RELICv2: the residual network, and the recipe that trains one of its size."""

from typing import Any

from sslcli.nn import Imported
from sslcli.nn.foreign.experiments import experiment_of
from sslcli.nn.foreign.haiku import resnet_of, size_name
from sslcli_relic.import_options import Relicv2ImportOptions

BATCH_SIZE = 4096  # of the paper, as far as it is known
RELEASED = ((50, 1), (50, 2), (50, 4), (101, 1), (152, 1), (200, 1), (200, 2))  # depth and multiple of the width


def import_relicv2(options: Relicv2ImportOptions, document: Any) -> Imported:
    """The backbone of a released file, and the recipe that trains one of its size."""
    experiment = experiment_of(document, fields=())
    resnet = resnet_of(*experiment.network(options.network))
    recipe = recipe_of(*resnet.size(), target=options.network == "target")
    epochs = float(options.epochs or experiment.epochs(BATCH_SIZE))
    said = f"{resnet.said()}, from the {options.network} network\n"
    said += f"recipe: {recipe['extends']}; {experiment.length(epochs)}"
    return Imported(resnet.weights, recipe, epochs, said)


def recipe_of(depth: int, multiple: int, *, target: bool) -> dict[str, Any]:
    """The recipe of a network of this size: that of the released size, or else the first with another size."""
    known = (depth, multiple) in RELEASED
    sizes = {} if known else {"depth": depth, "width_multiple": multiple}
    return {
        "schema": 1,
        "extends": f"relicv2/{size_name(depth, multiple) if known else size_name(50, 1)}-imagenet-1000ep",
        "name": f"relicv2-{size_name(depth, multiple)}",
        "backbone": {**sizes, "padding": "same"},  # as Haiku pads
        "teacher": {"export": target},
    }
