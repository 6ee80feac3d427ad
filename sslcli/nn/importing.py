"""What an importer makes of a file that other code released."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Imported:
    """A backbone's weights by the names of its recipe's backbone, and the recipe that they are a run of.

    Importers raise `UserError` for a file of another layout, and name what they miss and what they do not know.
    """

    weights: Mapping[str, Tensor]  # all that `backbone.exported` has, and nothing else
    recipe: Mapping[str, Any]  # TOML data; may say `extends`
    epoch: float  # epochs of training behind the weights; 0 where the file does not say
    said: str  # what was found and what was left out, in a line or two
