"""How a routing shares the training pictures out among its experts, over the whole set: no batch, no noise.

importance_e   sum over clusters of n_c p(c)_e                        how much an expert is wanted
load_e         sum of n_c over the clusters that are sent to it       how many pictures it gets
information    H(mean p) - mean H(p)                                  what the cluster tells of the expert, in nats
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sslcli.nn.experts import Experts
from sslcli.nn.gates import entropies, squared_variation
from sslcli_moce.extraction import gates_of, layers_of
from sslcli_moce.routing import ClusterConditional

UNDECIDED = 0.9  # of the greatest entropy that there is


@dataclass(frozen=True)
class Diagnosis:
    """One layer: the probabilities of all clusters, and how evenly and surely they share the pictures out."""

    probabilities: Tensor  # [m, E]
    sizes: Tensor  # pictures of each cluster, [m]
    load: Tensor  # pictures of each expert, [E]
    importance: Tensor  # [E]
    entropy: float  # of a picture's gate, the mean over pictures, in nats
    entropy_of_mean: float

    @property
    def information(self) -> float:
        """Mutual information of cluster and expert, in nats: great when gates are sure and experts equally wanted."""
        return self.entropy_of_mean - self.entropy

    @property
    def imbalance(self) -> float:
        """Squared coefficient of variation of the importance: 0 when all experts are equally wanted."""
        return float(squared_variation(self.importance))

    @property
    def dead(self) -> tuple[int, ...]:
        """The experts that get no picture."""
        return tuple(torch.nonzero(self.load == 0).flatten().tolist())

    def document(self) -> dict[str, Any]:
        """The numbers of the layer as plain data."""
        return {
            "experts": len(self.load),
            "load": self.load.tolist(),
            "importance": self.importance.tolist(),
            "imbalance": self.imbalance,
            "entropy": self.entropy,
            "entropy_of_mean": self.entropy_of_mean,
            "information": self.information,
            "dead": list(self.dead),
        }


def diagnose(backbone: nn.Module) -> dict[int, Diagnosis]:
    """Every layer of a mixture of experts by the number of its block. Raises UserError where there are no clusters."""
    return {block: diagnosis_of(layer) for block, layer in layers_of(backbone).items()}


def diagnosis_of(layer: Experts) -> Diagnosis:
    """One layer."""
    routing = layer.routing
    assert isinstance(routing, ClusterConditional)  # layers_of has looked
    return measure(routing.probabilities().detach(), gates_of(layer), routing.sizes)


def measure(probabilities: Tensor, gates: Tensor, sizes: Tensor) -> Diagnosis:
    """Of probabilities and sparse gates `[m, E]`, and the pictures of each cluster `[m]`."""
    pictures = sizes.to(probabilities)
    importance = pictures @ probabilities
    total = pictures.sum().clamp_min(1)
    return Diagnosis(
        probabilities.cpu(),
        sizes.cpu(),
        (sizes.to(torch.int64) @ (gates > 0).to(torch.int64)).cpu(),
        importance.cpu(),
        float(pictures @ entropies(probabilities) / total),
        float(entropies(importance / total)),
    )


def order_by_expert(probabilities: Tensor) -> Tensor:
    """The clusters by their expert, and for each expert the surest first, `[m]`."""
    surest = probabilities.max(dim=1)
    by_sureness = surest.values.argsort(descending=True, stable=True)
    return by_sureness[surest.indices[by_sureness].argsort(stable=True)]


def words(layers: Mapping[int, Diagnosis]) -> list[str]:
    """What is wrong with a routing, in words; nothing where all experts work and choices are sure."""
    said = []
    for block, layer in layers.items():
        count = len(layer.load)
        if layer.dead:
            dead = ", ".join(map(str, layer.dead))
            said.append(f"block {block}: {len(layer.dead)} of {count} experts get no picture: {dead}")
        most = math.log(count)
        if count > 1 and layer.entropy > UNDECIDED * most:
            nats = f"mean entropy {layer.entropy:.2f} nats, of ln {count} = {most:.2f} at most"
            said.append(f"block {block}: the gates hardly choose: {nats}")
    return said
