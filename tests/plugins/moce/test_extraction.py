"""An ordinary MLP, and an ordinary ViT, out of a mixture of experts."""

import pytest
import timm
import torch
from sslcli_moce.extraction import certainty, extract_expert, folded, gate_values, paths_of
from sslcli_moce.options import ClusterRoutingOptions
from sslcli_moce.routing import ClusterConditional
from sslcli_vit.backbone import Vit
from sslcli_vit.options import VitOptions
from timm.layers import Mlp, SwiGLU
from torch import nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.experts import Experts, Route, install_routing
from sslcli.nn.gates import top_gates
from sslcli.nn.stored import save_backbone

TOKENS = torch.tensor([[1.0, 2.0], [-0.5, 0.3]], dtype=torch.float64)
LOGITS = torch.tensor([1.6, 0.6, -0.2], dtype=torch.float64)  # [[2, 0], [0, 1], [-1, 1]] @ (.8, .6)


class Table(ClusterConditional):
    """A gate that a test chose for every cluster, `[m, E]`."""

    def __init__(self, gates):
        nn.Module.__init__(self)
        self.register_buffer("chosen", gates)

    def table(self):
        return torch.cat([self.chosen, self.chosen[:1]])  # of no cluster: as the first

    def opened(self, probabilities):
        return probabilities

    def forward(self, tokens, columns):
        return Route(self.chosen[columns["cluster"]][:, None])


class ByToken(nn.Module):
    """All tokens to the first expert, whatever their cluster."""

    def forward(self, tokens, columns):
        return Route(torch.tensor([1.0, 0.0]).expand(*tokens.shape[:2], 2))


def hand_made():
    """The MLP of the specification, in 64 bits."""
    mlp = Mlp(2, 3, 2).double()
    values = {
        "fc1.weight": [[1, -1], [0.5, 0.5], [-1, 2]],
        "fc1.bias": [0.1, 0, -0.2],
        "fc2.weight": [[1, 0, -0.5], [0.25, 0.5, 1]],
        "fc2.bias": [0.05, -0.05],
    }
    mlp.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()})
    return mlp.requires_grad_(False)


def sparse(*rows):
    """Top-1 gates."""
    return top_gates(torch.tensor(rows), 1)


def mixture(*gates, blocks=(1, 3), **options):
    """A ViT whose experts differ, with a table of gates in each of these blocks."""
    torch.manual_seed(0)
    vit = Vit(VitOptions(width=24, depth=4, heads=2, patch_size=8, **options), Context(image_size=32))
    tables = dict(zip(blocks, gates))
    install_routing(vit, lambda block: Table(tables[block]), blocks, gates[0].shape[1])
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return vit.eval()


def images(count=3):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def told(vit, cluster, shown):
    """Features of images of which the mixture is told the cluster."""
    return vit.encode(vit.embed(shown), columns={"cluster": torch.full((len(shown),), cluster)})


def test_the_mlp_and_the_mixture_of_the_specification():
    gates = LOGITS.softmax(0)
    torch.testing.assert_close(gates, torch.tensor([0.652240, 0.239946, 0.107815]).double(), atol=5e-7, rtol=0)
    layer = Experts(hand_made(), Table(top_gates(gates[None], 1).double()), 3)
    layer.columns = {"cluster": torch.zeros(1, dtype=torch.int64)}
    wanted = torch.tensor([[-0.986237, 2.218481], [-0.317346, 0.403732]]).double()
    torch.testing.assert_close(layer(TOKENS[None])[0], wanted, atol=5e-7, rtol=0)


def test_folding_weight_and_bias_gives_the_mixture_to_twelve_digits():
    gate, mlp = LOGITS.softmax(0)[0], hand_made()
    wanted = gate * mlp(TOKENS)
    assert float((folded(mlp, gate)(TOKENS) - wanted).abs().max()) < 1e-12


def test_not_folding_and_folding_the_weight_alone_are_as_wrong_as_the_specification_says():
    gate, mlp = LOGITS.softmax(0)[0], hand_made()
    wanted = gate * mlp(TOKENS)
    assert float((mlp(TOKENS) - wanted).abs().max()) == pytest.approx(1.182846, abs=5e-7)
    mlp.fc2.weight.mul_(gate)
    assert float((mlp(TOKENS) - wanted).abs().max()) == pytest.approx(0.017388, abs=5e-7)


def test_a_gate_of_one_leaves_the_mlp_as_it_is():
    mlp = hand_made()
    before = mlp(TOKENS)
    assert torch.equal(folded(mlp, torch.tensor(1.0))(TOKENS), before)


def test_a_gate_is_folded_into_whatever_mlp_ends_in_a_linear_layer():
    mlp, tokens = SwiGLU(6, 12).train(), torch.randn(4, 6)
    wanted = 0.3 * mlp(tokens)
    assert torch.allclose(folded(mlp, torch.tensor(0.3))(tokens), wanted, atol=1e-6)
    assert mlp.training


@pytest.mark.parametrize("last", [nn.GELU(), nn.LayerNorm(6)])
def test_an_mlp_that_does_not_end_in_a_linear_layer_is_refused(last):
    with pytest.raises(UserError, match="does not end in a linear layer"):
        folded(nn.Sequential(nn.Linear(6, 6), last), torch.tensor(0.3))


def test_the_extracted_vit_is_the_mixture_for_pictures_of_the_cluster():
    first, second = sparse([0.7, 0.2, 0.1], [0.1, 0.6, 0.3]), sparse([0.2, 0.3, 0.5], [0.9, 0.0, 0.1])
    vit = mixture(first, second)
    assert paths_of(vit) == [(0, 2), (1, 0)]
    for cluster in (0, 1):
        ordinary = extract_expert(vit, cluster)
        with torch.no_grad():
            found = ordinary.features(images())
        assert float((found.normed - told(vit, cluster, images()).normed).abs().max()) < 1e-5
        assert float((found.normed - told(vit, 1 - cluster, images()).normed).abs().max()) > 0.05


def test_clusters_of_the_same_expert_with_another_gate_are_another_vit():
    vit = mixture(sparse([0.9, 0.1], [0.6, 0.4]), blocks=(2,))
    with torch.no_grad():
        found = extract_expert(vit, 0).features(images()).normed
    assert float((found - told(vit, 1, images()).normed).abs().max()) > 1e-3


def test_the_mixture_itself_is_left_as_it_was():
    vit = mixture(sparse([0.7, 0.3]), blocks=(1,))
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    extract_expert(vit, 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vit.state_dict().items())


def test_plain_timm_opens_what_was_extracted_and_its_keys_are_those_of_a_dense_vit(tmp_path):
    vit = mixture(sparse([0.2, 0.8]), blocks=(3,))
    ordinary = extract_expert(vit, 0)
    save_backbone(tmp_path, ordinary, {"image_size": 32})
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    dense = Vit(VitOptions(width=24, depth=4, heads=2, patch_size=8), Context(image_size=32))
    assert list(ordinary.exported.state_dict()) == list(dense.exported.state_dict())
    with torch.no_grad():
        assert float((model.forward_features(images()) - told(vit, 0, images()).normed).abs().max()) < 1e-5


def test_a_mixture_of_vit_b_and_what_is_extracted_have_the_sizes_of_the_specification():
    with torch.device("meta"):
        vit = Vit(VitOptions(model="vit_base_patch16_224"), Context(image_size=224))
        install_routing(vit, lambda block: Table(torch.eye(8, device="cpu")), [9, 11], 8)
        for block in (9, 11):
            vit.model.blocks[block].mlp.routing.gate = nn.Linear(768, 8, bias=False)
    counts = [sum(p.numel() for p in network.parameters()) for network in (vit, extract_expert(vit, 0))]
    assert counts == [151_924_992, 85_798_656]


def test_several_experts_at_a_time_are_refused_with_a_hint():
    vit = mixture(top_gates(torch.tensor([[0.5, 0.3, 0.2]]), 2), blocks=(1,))
    with pytest.raises(UserError, match="block 1 each picture goes to 2 experts") as refused:
        extract_expert(vit, 0)
    assert "routing.top_k = 1" in refused.value.hint


def test_routing_by_token_has_no_expert_of_a_cluster():
    vit = Vit(VitOptions(width=24, depth=4, heads=2, patch_size=8), Context(image_size=32))
    install_routing(vit, lambda block: ByToken(), [1], 2)
    with pytest.raises(UserError, match="token by token"):
        extract_expert(vit, 0)


def test_an_ordinary_vit_is_no_mixture():
    with pytest.raises(UserError, match="no mixture of experts"):
        extract_expert(Vit(VitOptions(width=24, depth=4, heads=2, patch_size=8), Context(image_size=32)), 0)


def test_gates_and_certainty_are_those_of_the_experts_that_were_chosen():
    vit = mixture(sparse([0.7, 0.3], [0.4, 0.6]), sparse([0.2, 0.8], [0.9, 0.1]))
    assert gate_values(vit, 0) == pytest.approx((0.7, 0.8))
    assert certainty(vit, 1) == pytest.approx(0.75)


def test_the_options_that_are_named_in_hints_exist():
    assert {"top_k", "gate_scale"} <= set(ClusterRoutingOptions.model_fields)
