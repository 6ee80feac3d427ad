"""Mixtures of experts in the place of an MLP."""

from copy import deepcopy

import pytest
import torch
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.experts import Experts, Route, forget_routing, install_routing, routing_losses, routing_parts


class Fixed(nn.Module):
    """Gates that a test chose, `[B, N, E]`."""

    def __init__(self, gates: Tensor) -> None:
        super().__init__()
        self.gates = nn.Parameter(gates)

    def forward(self, tokens, columns):
        return Route(self.gates, {"balance": self.gates.sum() * 0.5, "confidence": self.gates.mean()})


class TopOne(nn.Module):
    """The best expert of each token, with the softmax as its gate."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, count, bias=False)

    def forward(self, tokens, columns):
        shares = self.gate(tokens).float().softmax(-1)
        best = nn.functional.one_hot(shares.argmax(-1), shares.shape[-1])
        return Route(shares * best)


class Scaled(nn.Module):
    """Everything to the first expert; its loss is the mean of the tokens."""

    def forward(self, tokens, columns):
        return Route(torch.tensor([1.0, 0.0]).expand(*tokens.shape[:2], 2), {"size": tokens.mean()})


class ByImage(nn.Module):
    """All tokens of an image to the expert in its column."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, tokens, columns):
        gates = nn.functional.one_hot(columns["cluster"], self.count).float()
        return Route(gates[:, None].expand(-1, tokens.shape[1], -1))


class Counting(nn.Linear):
    """A linear layer that notes how many tokens it saw."""

    def forward(self, tokens):
        self.seen = len(tokens)
        return super().forward(tokens)


def mlp(width=6):
    return nn.Sequential(nn.Linear(width, 12), nn.GELU(), nn.Linear(12, width))


def vit(**options):
    return Vit(VitOptions(width=24, depth=4, heads=2, patch_size=8, **options), Context(image_size=32))


def test_equal_experts_with_softmax_gates_are_the_dense_mlp():
    dense, tokens = mlp(), torch.randn(2, 5, 6)
    mixture = Experts(dense, Fixed(torch.randn(2, 5, 4).softmax(-1)), 4)
    assert torch.allclose(mixture(tokens), dense(tokens), atol=1e-6)


def test_output_is_the_gated_sum_over_experts():
    mixture = Experts(mlp(), Fixed(torch.rand(2, 5, 3) * (torch.rand(2, 5, 3) > 0.5)), 3)
    for expert in mixture.experts:
        nn.init.normal_(expert[0].weight)
    tokens = torch.randn(2, 5, 6)
    expected = torch.zeros(2, 5, 6)
    for image in range(2):
        for place in range(5):
            for number, expert in enumerate(mixture.experts):
                expected[image, place] += mixture.routing.gates[image, place, number] * expert(tokens[image, place])
    assert torch.allclose(mixture(tokens), expected, atol=1e-6)


def test_each_expert_sees_only_its_own_tokens():
    gates = torch.tensor([[[1.0, 0, 0], [0.3, 0, 0], [0, 0, 0.2], [0.5, 0, 0.5]]])
    mixture = Experts(Counting(6, 6), Fixed(gates), 3)
    mixture(torch.randn(1, 4, 6))
    assert [expert.seen for expert in mixture.experts] == [3, 0, 2]


def test_a_token_without_an_expert_gets_zero():
    mixture = Experts(mlp(), Fixed(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])), 2)
    output = mixture(torch.randn(1, 2, 6))
    assert (output[0, 0] == 0).all()
    assert (output[0, 1] != 0).any()


@pytest.mark.parametrize("chosen", [0, 1])
def test_an_expert_without_tokens_gets_a_zero_gradient(chosen):
    mixture = Experts(mlp(), Fixed(torch.eye(2)[chosen].expand(1, 3, 2).clone()), 2)
    mixture(torch.randn(1, 3, 6)).square().sum().backward()
    used, unused = mixture.experts[chosen], mixture.experts[1 - chosen]
    assert all((parameter.grad == 0).all() for parameter in unused.parameters())
    assert all((parameter.grad != 0).any() for parameter in used.parameters())


def test_gates_get_a_gradient_where_they_chose():
    mixture = Experts(mlp(), TopOne(6, 4), 4)
    mixture(torch.randn(2, 5, 6)).sum().backward()
    assert (mixture.routing.gate.weight.grad != 0).any()


def test_experts_keep_the_precision_of_the_mlp_under_autocast():
    mixture = Experts(mlp(), TopOne(6, 4), 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert mixture(torch.randn(2, 5, 6)).dtype == mixture.experts[0](torch.randn(2, 6)).dtype == torch.bfloat16


def test_gates_of_a_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"Fixed gave gates \(1, 3, 2\), not \(1, 3, 4\)"):
        Experts(mlp(), Fixed(torch.ones(1, 3, 2)), 4)(torch.randn(1, 3, 6))


def test_losses_of_all_layers_are_summed_and_named():
    gates = torch.full((1, 3, 2), 0.5)
    network = nn.Sequential(Experts(mlp(), Fixed(gates), 2), Experts(mlp(), Fixed(gates), 2))
    network(torch.randn(1, 3, 6))
    assert routing_losses(network).item() == pytest.approx(2 * (1.5 + 0.5))
    assert {name: value.item() for name, value in routing_parts(network).items()} == {"balance": 1.5, "confidence": 0.5}


def test_losses_of_a_step_are_the_mean_over_its_forwards_that_learn():
    mixture = Experts(mlp(), Scaled(), 2)
    for scale in (1.0, 3.0):
        mixture(torch.full((1, 3, 6), scale))
    with torch.no_grad():
        mixture(torch.full((1, 3, 6), 100.0))
    assert routing_losses(mixture).item() == pytest.approx(2.0)
    forget_routing(mixture)
    assert routing_losses(mixture).item() == 0


def test_a_network_without_experts_adds_nothing():
    assert routing_losses(mlp()).item() == 0
    assert routing_parts(mlp()) == {}


def test_a_mixture_can_be_copied_after_a_forward():
    mixture = Experts(mlp(), Fixed(torch.ones(1, 3, 2)), 2)
    mixture(torch.randn(1, 3, 6))
    assert deepcopy(mixture).losses == {}


def test_routing_is_installed_in_the_blocks_named_from_either_end():
    backbone = vit()
    install_routing(backbone, lambda block: TopOne(24, 3), (0, -1), 3)
    assert [isinstance(block.mlp, Experts) for block in backbone.model.blocks] == [True, False, False, True]
    assert backbone.model.blocks[0].mlp.routing is not backbone.model.blocks[3].mlp.routing


@pytest.mark.parametrize(
    ("blocks", "message"), [((4,), "names block 4"), ((-5,), "names block -5"), ((3, -1), "twice")]
)
def test_blocks_that_are_not_there_or_named_twice_are_refused(blocks, message):
    with pytest.raises(UserError, match=message):
        install_routing(vit(), lambda block: TopOne(24, 3), blocks, 3)


def test_a_backbone_without_experts_is_refused():
    backbone = vit()
    backbone.abilities = frozenset()
    with pytest.raises(UserError, match="cannot hold experts"):
        install_routing(backbone, lambda block: TopOne(24, 3), (0,), 3)


def test_a_mixture_at_its_start_is_the_dense_backbone():
    torch.manual_seed(0)
    dense = vit().eval()
    mixed = deepcopy(dense)
    install_routing(mixed, lambda block: ByImage(3), (1, 3), 3)
    tokens = dense.embed(torch.randn(4, 3, 32, 32))
    routed = mixed.encode(tokens, columns={"cluster": torch.tensor([0, 2, 2, 1])})
    assert torch.allclose(routed.normed, dense.encode(tokens).normed, atol=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_columns_reach_the_routing_of_each_forward(checkpointing):
    backbone = vit(checkpointing=checkpointing)
    install_routing(backbone, lambda block: ByImage(2), (0,), 2)
    tokens = backbone.embed(torch.randn(3, 3, 32, 32))
    clusters = [torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)]
    forwards = [backbone.encode(tokens, columns={"cluster": cluster}) for cluster in clusters]
    first, second = backbone.model.blocks[0].mlp.experts
    forwards[0].normed.square().mean().backward(retain_graph=True)
    assert first.fc2.weight.grad.any()
    assert not second.fc2.weight.grad.any()
    forwards[1].normed.square().mean().backward()
    assert second.fc2.weight.grad.any()


def test_parameter_counts_of_moce_base():
    with torch.device("meta"):
        backbone = Vit(VitOptions(model="vit_base_patch16_224"), Context(image_size=224))
        expert = sum(parameter.numel() for parameter in backbone.model.blocks[9].mlp.parameters())
        install_routing(backbone, lambda block: nn.Linear(768, 8, bias=False), (-3, -1), 8)
    assert expert == 4_722_432
    assert sum(parameter.numel() for parameter in backbone.parameters()) == 151_924_992
