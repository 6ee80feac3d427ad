"""The released checkpoints of BYOL: the residual network of one side, and the recipe that trains one of its size."""

from typing import Any

from sslcli.nn import Imported
from sslcli.nn.foreign.experiments import experiment_of
from sslcli.nn.foreign.haiku import resnet_of, size_name
from sslcli_byol.import_options import ByolImportOptions

FIELDS = ("online_params", "target_params", "online_state", "target_state", "opt_state")  # where a file has no names
BATCH_SIZE = 4096  # of the published runs
LENGTHS = {(50, 1): (1000, 300, 100, 40), (200, 2): (1000,)}  # epochs that there are recipes for, by the size


def import_byol(options: ByolImportOptions, document: Any) -> Imported:
    """The backbone of a released file, and the recipe that trains one of its size."""
    experiment = experiment_of(document, FIELDS)
    resnet = resnet_of(*experiment.network(options.network))
    epochs = float(options.epochs or experiment.epochs(BATCH_SIZE))
    recipe = recipe_of(*resnet.size(), epochs, target=options.network == "target")
    said = f"{resnet.said()}, from the {options.network} network\n"
    said += f"recipe: {recipe['extends']}; {experiment.length(epochs)}"
    return Imported(resnet.weights, recipe, epochs, said)


def recipe_of(depth: int, multiple: int, epochs: float, *, target: bool) -> dict[str, Any]:
    """The recipe of a network of this size, and of this length if there is one; that of ResNet-50 with another size."""
    lengths = LENGTHS.get((depth, multiple), ())
    length = round(epochs) if round(epochs) in lengths else 1000
    sizes = {} if lengths else {"depth": depth, "width_multiple": multiple}
    base = size_name(depth, multiple) if lengths else size_name(50, 1)
    return {
        "schema": 1,
        "extends": f"byol/{base}-imagenet-{length}ep",
        "name": f"byol-{size_name(depth, multiple)}",
        "backbone": {**sizes, "padding": "same"},  # as Haiku pads
        "teacher": {"export": target},
    }
