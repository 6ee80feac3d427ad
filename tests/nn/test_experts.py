"""Mixtures of experts in the place of an MLP."""

from copy import deepcopy

import pytest
import torch
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.experts import (
    Experts,
    Route,
    forget_routing,
    install_routing,
    one_each,
    perturb_experts,
    routing_losses,
    routing_parts,
    several_each,
)


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


class PerImage(nn.Module):
    """One gate for all tokens of an image, `[B, 1, E]`, as it is learned."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, tokens, columns):
        shares = self.logits.softmax(-1)
        return Route((shares * nn.functional.one_hot(shares.argmax(-1), shares.shape[-1]))[:, None])


class PerToken(PerImage):
    """The same gates, given to every token."""

    def forward(self, tokens, columns):
        return Route(super().forward(tokens, columns).gates.expand(-1, tokens.shape[1], -1))


def told_apart(routing: nn.Module) -> Experts:
    """Three experts that differ."""
    torch.manual_seed(0)
    experts = Experts(nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4)), routing, 3)
    perturb_experts(experts, 1.0, seed=1)
    return experts.double()


def test_a_gate_for_an_image_is_that_gate_for_each_of_its_tokens():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    tokens = torch.randn(5, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    results = []
    for routing in (PerImage(logits), PerToken(logits)):
        experts, given = told_apart(routing), tokens.clone().requires_grad_()
        output = experts(given)
        output.square().sum().backward()
        results.append((output, given.grad, experts.routing.logits.grad, experts.experts[0][0].weight.grad))
    for one, other in zip(*results):
        torch.testing.assert_close(one, other)


def test_the_gradients_of_top_one_experts_are_those_of_finite_differences():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    experts = told_apart(PerImage(logits))
    tokens = torch.randn(4, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    assert torch.autograd.gradcheck(experts, tokens)
    parameters = {name: parameter.detach().clone().requires_grad_() for name, parameter in experts.named_parameters()}
    weight = parameters["experts.0.0.weight"]
    call = torch.func.functional_call
    assert torch.autograd.gradcheck(
        lambda changed: call(experts, parameters | {"experts.0.0.weight": changed}, (tokens,)), weight
    )
    assert torch.autograd.gradcheck(
        lambda changed: call(experts, parameters | {"routing.logits": changed}, (tokens,)), parameters["routing.logits"]
    )


def test_one_expert_a_token_and_the_sum_over_several_agree():
    experts = told_apart(PerImage(torch.zeros(4, 3)))
    rows, gates = torch.randn(6, 4).double(), torch.eye(3).double()[[0, 2, 2, 1, 0, 2]] * 0.7
    shares = [2, 1, 3]
    torch.testing.assert_close(
        one_each(rows, gates, experts.experts, shares), several_each(rows, gates, experts.experts, shares)
    )


def test_all_experts_open_and_equal_are_the_dense_mlp():
    mlp = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
    tokens = torch.randn(2, 3, 4)
    experts = Experts(mlp, Fixed(torch.randn(2, 3, 5).softmax(-1)), 5)
    torch.testing.assert_close(experts(tokens), mlp(tokens))


def test_equal_copies_come_apart_by_a_share_of_their_deviation_and_trained_ones_are_left():
    mlp = nn.Linear(64, 64)
    experts = Experts(mlp, Scaled(), 2)
    perturb_experts(experts, 0.01, seed=0)
    moved = experts.experts[0].weight - mlp.weight
    assert moved.std().item() == pytest.approx(0.01 * mlp.weight.std().item(), rel=0.1)
    assert torch.equal(experts.experts[0].bias, mlp.bias)
    before = [parameter.clone() for parameter in experts.parameters()]
    perturb_experts(experts, 0.01, seed=0)
    assert all(map(torch.equal, before, experts.parameters()))


def test_what_went_to_each_expert_is_counted_in_training_and_taken_once():
    experts = told_apart(PerImage(torch.eye(3)[[0, 0, 2]] * 9)).train()
    tokens = torch.randn(3, 5, 4, dtype=torch.float64)
    experts(tokens)
    with torch.no_grad():
        experts(tokens)
    assert experts.take_shares() == [2, 0, 1]
    assert experts.take_shares() == [0, 0, 0]


def test_logs_of_a_routing_stand_beside_its_losses():
    class Logging(nn.Module):
        def forward(self, tokens, columns):
            gates = torch.ones(len(tokens), 1, 1)
            return Route(gates, {"balance": tokens.sum() * 0 + 2}, {"entropy": tokens.sum() * 0 + 3})

    experts = Experts(nn.Linear(4, 4), Logging(), 1)
    experts(torch.randn(2, 3, 4))
    assert {name: value.item() for name, value in routing_parts(experts).items()} == {"balance": 2.0, "entropy": 3.0}
    assert routing_losses(experts).item() == 2.0
