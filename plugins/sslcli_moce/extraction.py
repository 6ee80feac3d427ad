"""An ordinary backbone out of a mixture of experts: in each block the one expert that a cluster is sent to.

    mixture    y = g * mlp_e(x),   e = argmax gates[cluster],  g = gates[cluster, e]
    ordinary   y = mlp_e(x),       the weight and the bias of its last linear layer times g

So both give the same features for pictures of that cluster (arXiv 2402.05382; it does not speak of the folding).
"""

import re
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from sslcli.errors import UserError
from sslcli.nn.backbone import Backbone
from sslcli.nn.experts import Experts, experts_in
from sslcli_moce.routing import ClusterConditional

ExpertPath = tuple[int, ...]  # the expert of each layer
TRIED = 8  # random tokens that a folded MLP is tried on
AGREEMENT = 1e-4  # of a folded MLP with what it should give, relative to the largest output


def extract_expert(backbone: Backbone, cluster: int) -> Backbone:
    """A copy of a backbone with an ordinary MLP in each block: the experts of a cluster, their gates folded in.

    Raises UserError where no ordinary MLP is the same: routing by token, several experts at a time, or an MLP that does
    not end in a linear layer.
    """
    for block, layer in layers_of(backbone).items():
        refuse_several(block, gates_of(layer)[cluster])
    ordinary = deepcopy(backbone)
    for number in range(ordinary.depth):
        ordinary.replace_mlp(number, partial(chosen_mlp, cluster=cluster))
    return ordinary


def layers_of(backbone: nn.Module) -> dict[int, Experts]:
    """The mixtures of experts of a backbone by the number of their block.

    Raises UserError when it has none, or one whose routing does not go by clusters.
    """
    layers = {block_of(name): layer for name, layer in experts_in(backbone)}
    if not layers:
        raise UserError("the backbone is no mixture of experts", "as an ordinary one it is used as it is")
    for layer in layers.values():
        if not isinstance(layer.routing, ClusterConditional):
            raise UserError(
                f"the experts are chosen token by token ({type(layer.routing).__name__}), so none is that of a cluster",
                "train with a routing that goes by clusters: moce.cluster or moce.fixed",
            )
    return layers


def block_of(name: str) -> int:
    """The number of a block, which is the last one in the name of its MLP: 3 of `model.blocks.3.mlp`."""
    return int(re.findall(r"\d+", name)[-1])


def gates_of(layer: Experts) -> Tensor:
    """What multiplies the outputs of a layer's experts for a picture of each cluster, `[m, E]`."""
    assert isinstance(layer.routing, ClusterConditional)  # layers_of has looked
    return layer.routing.gates().detach()


def paths_of(backbone: nn.Module) -> list[ExpertPath]:
    """The expert that each cluster is sent to in every layer, `m` tuples; of equal gates the first."""
    experts = [gates_of(layer).argmax(dim=1).tolist() for layer in layers_of(backbone).values()]
    return list(zip(*experts))


def gate_values(backbone: nn.Module, cluster: int) -> tuple[float, ...]:
    """What the chosen expert of each layer is multiplied by for a cluster: what extraction folds in."""
    return tuple(float(gates_of(layer)[cluster].max()) for layer in layers_of(backbone).values())


def certainty(backbone: nn.Module, cluster: int) -> float:
    """The mean over the layers of the probability that the gate gives a cluster's expert: 1 when there is no doubt."""
    routings = [layer.routing for layer in layers_of(backbone).values()]
    chances = [float(r.probabilities()[cluster].max()) for r in routings if isinstance(r, ClusterConditional)]
    return sum(chances) / len(chances)


def refuse_several(block: int, gates: Tensor) -> None:
    """Refuse gates `[E]` of a cluster that several experts share."""
    count = int((gates > 0).sum())
    if count > 1:
        raise UserError(
            f"in block {block} each picture goes to {count} experts, and their sum is no ordinary MLP",
            "train with routing.top_k = 1, or use the mixture as it is",
        )


def chosen_mlp(mlp: nn.Module, cluster: int) -> nn.Module:
    """Of a mixture the expert of a cluster, with its gate; any other MLP as it is."""
    if not isinstance(mlp, Experts):
        return mlp
    gate, expert = gates_of(mlp)[cluster].max(dim=0)
    return folded(mlp.experts[int(expert)], gate)


@torch.no_grad()
def folded(mlp: nn.Module, gate: Tensor) -> nn.Module:
    """The MLP with its last linear layer multiplied by a gate, in place. Raises UserError where that is not enough."""
    if gate == 1:
        return mlp
    layers = [part for part in mlp.modules() if isinstance(part, nn.Linear)]
    if not layers:
        raise not_linear(mlp)
    last, mode = layers[-1], mlp.training
    tokens = torch.randn(TRIED, layers[0].in_features, generator=torch.Generator().manual_seed(0)).to(last.weight)
    wanted = mlp.eval()(tokens) * gate
    for parameter in (last.weight, last.bias):
        if parameter is not None:
            parameter.mul_(gate.to(parameter))
    if not (mlp(tokens) - wanted).abs().max() <= AGREEMENT * wanted.abs().max():
        raise not_linear(mlp)
    return mlp.train(mode)


def not_linear(mlp: nn.Module) -> UserError:
    """The error for an MLP that a gate cannot be folded into."""
    return UserError(
        f"the gate cannot be folded into the MLP, a {type(mlp).__name__}: it does not end in a linear layer",
        'train with routing.gate_scale = "straight_through", where the gate is 1',
    )
