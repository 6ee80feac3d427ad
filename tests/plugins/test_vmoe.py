"""Token routing."""

import pytest
import torch
from sslcli_vmoe.options import TokenRoutingOptions
from sslcli_vmoe.routing import TokenRouting

from sslcli.api import Context
from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.nn.gates import importance, squared_variation


def routing(**options) -> TokenRouting:
    """A routing of four experts for tokens of 8 channels, with a gate that decides."""
    torch.manual_seed(0)
    given = {"experts": 4, "gate_deviation": 1.0, **options}
    return TokenRouting(TokenRoutingOptions(**given), Context(width=8, block=1))


TOKENS = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))
TOLD = {"index": torch.arange(3), "epoch": torch.zeros(3, dtype=torch.int64)}


def test_every_token_goes_to_the_expert_of_its_own_softmax():
    case = routing().eval()
    shares = (TOKENS @ case.gate.weight.T).softmax(-1)
    gates = case(TOKENS, None).gates
    assert torch.equal(gates.argmax(-1), shares.argmax(-1))
    torch.testing.assert_close(gates.sum(-1), shares.amax(-1))


def test_two_opened_experts_keep_their_shares():
    case = routing(top_k=2).eval()
    shares = (TOKENS @ case.gate.weight.T).softmax(-1)
    torch.testing.assert_close(case(TOKENS, None).gates.sum(-1), shares.topk(2).values.sum(-1))


def test_the_balance_counts_tokens_and_is_without_noise():
    case = routing(importance=1.0, load=0.0).train()
    shares = (TOKENS @ case.gate.weight.T).softmax(-1)
    losses = case(TOKENS, TOLD).losses
    assert losses.keys() == {"importance"}
    torch.testing.assert_close(losses["importance"], squared_variation(importance(shares)))


def test_noise_is_drawn_in_training_and_fixed_by_the_sample():
    case = routing(gate_deviation=0.01).train()
    first, second = (case(TOKENS, TOLD).gates for _ in range(2))
    assert torch.equal(first, second)
    alone = case(TOKENS[1:], {name: fact[1:] for name, fact in TOLD.items()}).gates
    assert torch.equal(alone, first[1:])
    later = case(TOKENS, {**TOLD, "epoch": TOLD["epoch"] + 1}).gates
    assert not torch.equal(later.argmax(-1), first.argmax(-1))


def test_the_load_pulls_tokens_away_from_a_crowded_expert():
    case = routing(load=1.0, importance=0.0).train()
    with torch.no_grad():
        case.gate.weight.copy_(torch.cat([torch.full((1, 8), 0.03), torch.zeros(3, 8)]))
    case(TOKENS.abs(), TOLD).losses["load"].backward()
    assert (case.gate.weight.grad[0] > 0).all()  # against the gradient: less of the first


def test_load_without_noise_is_refused():
    with pytest.raises(UserError, match="counts chances under noise"):
        routing(noise=0.0)
    routing(noise=0.0, load=0.0)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tiny_recipe, run_sslcli, tmp_path):
    from safetensors.torch import load_file

    recipe = tiny_recipe(
        routing={"name": "token", "experts": 2, "blocks": [-1], "importance": 1.0, "load": 1.0},
        optimizer={"name": "sgd", "lr": 0.05},
    )
    for name, processes in (("one", 1), ("two", 2)):
        done = run_sslcli("pretrain", recipe, "--output", name, "--processes", processes)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(max((tmp_path / name).rglob("model.safetensors"))) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-4, rtol=1e-3)


def test_a_run_of_token_experts_can_be_judged(tiny_recipe, picture_folder, tmp_path):
    recipe = tiny_recipe(routing={"name": "token", "experts": 2, "blocks": [-1]})
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    assert run(["eval", "knn", str(tmp_path / "run"), "--data", str(picture_folder), "--k", "2", "--no-cache"]) == 0
