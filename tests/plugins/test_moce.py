"""Routings by the cluster of an image: the gate's table, its losses, whole runs, and what is refused."""

import json
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file
from sslcli_moce.clusters import Clusters, read_clusters, write_clusters
from sslcli_moce.example import write_example
from sslcli_moce.options import ClusterRoutingOptions, FixedRoutingOptions
from sslcli_moce.placing import Recogniser
from sslcli_moce.routing import ClusterRouting, FixedRouting, doubt
from torch.nn.functional import normalize

from sslcli.api import Context
from sslcli.cli import run
from sslcli.errors import UserError
from sslcli.evaluation.opening import open_subject
from sslcli.nn.experts import experts_in
from sslcli.recipe import load_recipe
from sslcli.training.session import Session

GATE = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
CENTROID = torch.tensor([[0.8, 0.6]])


class Quiet:
    """Whom nothing is told."""

    def record(self, record, context):
        pass

    def note(self, text):
        pass


@pytest.fixture
def folder(tmp_path, picture_folder):
    """Six clusters of the 24 pictures, one after the other."""
    return write_example(tmp_path / "clusters", str(picture_folder))


@pytest.fixture
def one_cluster(tmp_path):
    """A folder with the single centroid of the hand-made case."""
    facts = {"data": "x", "fingerprint": "y", "pictures": 3}
    write_clusters(tmp_path / "one", Clusters(CENTROID, torch.zeros(3, dtype=torch.int64), facts))
    return tmp_path / "one"


def routing(folder, *, block: int = 1, depth: int = 2, seed: int = 0, **options: Any) -> ClusterRouting:
    """A routing in evaluation mode, with a gate that is not next to nothing."""
    torch.manual_seed(seed)
    given = {"clusters": str(folder), "experts": 4, "gate_deviation": 2.0, "blocks": [1], **options}
    return ClusterRouting(ClusterRoutingOptions(**given), Context(depth=depth, block=block, width=32)).eval()


def told(*index: int, epoch: int = 0) -> dict[str, torch.Tensor]:
    """The facts of some pictures."""
    return {"index": torch.tensor(index), "epoch": torch.full((len(index),), epoch)}


TOKENS = torch.zeros(4, 5, 32)


def test_the_gate_is_the_top_of_the_softmax_and_is_not_normalised_again(one_cluster):
    case = routing(one_cluster, experts=3)
    case.gate.weight.data.copy_(GATE)
    assert case.probabilities()[0].tolist() == pytest.approx([0.652240, 0.239946, 0.107815], abs=1e-6)
    gates = case(TOKENS[:1], told(2)).gates
    assert gates.shape == (1, 1, 3)
    assert gates.flatten().tolist() == pytest.approx([0.652240, 0, 0], abs=1e-6)
    assert case.gates().flatten().tolist() == pytest.approx([0.652240, 0, 0], abs=1e-6)


def test_images_of_a_cluster_share_their_experts_whatever_their_pixels(folder):
    case = routing(folder)
    gates = case(torch.randn(4, 9, 32), told(0, 6, 1, 12)).gates  # six clusters: 0, 6 and 12 are of the first
    assert torch.equal(gates[0], gates[1])
    assert torch.equal(gates[0], gates[3])
    assert torch.equal(gates[[0, 2], 0], case.gates()[[0, 1]])


def test_other_clusters_of_the_same_pictures_route_them_otherwise(folder):
    case = routing(folder)
    shuffled = case(TOKENS, {"cluster": torch.tensor([5, 4, 0, 1])}).gates[:, 0]
    assert torch.equal(shuffled, case.gates()[[5, 4, 0, 1]])


def test_a_picture_of_no_cluster_is_routed_by_the_mean_of_all(folder):
    case = routing(folder)
    middle = case.centroids.mean(dim=0)
    expected = (case.gate.weight @ middle).softmax(0)
    gates = case(TOKENS[:1], {"cluster": torch.tensor([-1])}).gates[0, 0]
    assert gates.max().item() == pytest.approx(expected.max().item(), rel=1e-6)


def test_a_temperature_sharpens_the_gate(folder):
    plain, sharp = (routing(folder, temperature=temperature).probabilities() for temperature in (1.0, 0.25))
    torch.testing.assert_close(sharp, (plain.log() / 0.25).softmax(-1))


def test_two_opened_experts_keep_their_shares(folder):
    case = routing(folder, top_k=2)
    gates = case(TOKENS, told(0, 1, 2, 3)).gates[:, 0]
    assert (gates > 0).sum(-1).tolist() == [2] * 4
    torch.testing.assert_close(gates.sum(-1), case.probabilities()[:4].topk(2).values.sum(-1))


@pytest.mark.parametrize(("gate_scale", "counted"), [("prob", torch.clone), ("straight_through", torch.log)])
def test_the_gate_learns_from_what_its_expert_gives(folder, gate_scale, counted):
    case = routing(folder, gate_scale=gate_scale, noise=0.0).train()
    (found,) = torch.autograd.grad(case(TOKENS, told(0, 1, 2, 3)).gates.sum(), case.gate.weight)
    chosen = (case.centroids[:4] @ case.gate.weight.T).softmax(-1).amax(-1)
    (wanted,) = torch.autograd.grad(counted(chosen).sum(), case.gate.weight)
    torch.testing.assert_close(found, wanted)


def test_noise_turns_close_choices_in_training_alone_and_differs_by_epoch(folder):
    case = routing(folder, gate_deviation=0.001)
    still = [case(TOKENS, told(0, 1, 2, 3, epoch=epoch)).gates for epoch in range(2)]
    assert torch.equal(*still)
    case.train()
    moving = torch.stack([case(TOKENS, told(0, 1, 2, 3, epoch=epoch)).gates.argmax(-1) for epoch in range(20)])
    assert len(moving.unique()) == 4
    again = case(TOKENS, told(0, 1, 2, 3, epoch=3)).gates.argmax(-1)
    assert torch.equal(moving[3], again)


def test_noise_leaves_decided_gates_alone(folder):
    case = routing(folder, gate_deviation=50.0).train()
    quiet = case.gates().argmax(-1)
    for epoch in range(10):
        assert torch.equal(case(TOKENS, told(0, 1, 2, 3, epoch=epoch)).gates[:, 0].argmax(-1), quiet[:4])


def test_losses_are_of_the_images_not_of_their_tokens_and_weighted(folder):
    case = routing(folder, imbalance=0.5, confidence=0.25).train()
    short, long = (case(torch.zeros(4, count, 32), told(0, 1, 2, 3)).losses for count in (1, 50))
    rows = case.probabilities()[:4]
    wanted = rows.sum(dim=0)
    assert short["imbalance"].item() == pytest.approx(0.5 * (wanted.var(correction=0) / wanted.mean() ** 2).item())
    assert short["confidence"].item() == pytest.approx(0.25 * -(rows * rows.log()).sum(-1).mean().item(), rel=1e-5)
    assert {name: term.item() for name, term in long.items()} == {name: term.item() for name, term in short.items()}


def test_both_losses_have_a_second_form(folder):
    options = {"unbiased": True, "confidence_form": "top", "imbalance": 1.0, "confidence": 1.0}
    case = routing(folder, **options).train()
    losses, rows = case(TOKENS, told(0, 1, 2, 3)).losses, case.probabilities()[:4]
    wanted = rows.sum(dim=0)
    assert losses["imbalance"].item() == pytest.approx((wanted.var() / wanted.mean() ** 2).item())
    assert losses["confidence"].item() == pytest.approx((1 - rows.amax(-1)).mean().item())


def test_over_the_data_every_cluster_counts_by_its_size(tmp_path):
    ids = torch.tensor([0] * 6 + [1] * 2)
    centroids = torch.eye(2)
    write_clusters(tmp_path / "c", Clusters(centroids, ids, {"data": "x", "fingerprint": "y", "pictures": 8}))
    case = routing(tmp_path / "c", regularised="data", imbalance=1.0, confidence=1.0).train()
    rows = case.probabilities()
    wanted = (rows * torch.tensor([[6.0], [2.0]])).sum(dim=0)
    losses = case(TOKENS[:1], told(0)).losses
    assert losses["imbalance"].item() == pytest.approx((wanted.var(correction=0) / wanted.mean() ** 2).item())
    entropies = -(rows * rows.log()).sum(-1)
    assert losses["confidence"].item() == pytest.approx((6 * entropies[0] + 2 * entropies[1]).item() / 8, rel=1e-5)


def test_doubt_has_a_second_form():
    gates = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    assert doubt(gates, None, "top").item() == pytest.approx(0.325)
    assert doubt(gates, None, "entropy").item() == pytest.approx(0.822267, abs=1e-6)


def test_all_images_of_a_single_cluster_go_to_one_expert(one_cluster):
    case = routing(one_cluster, experts=3, confidence=0.0).train()
    gates = case(TOKENS, told(0, 1, 2, 0)).gates
    assert len(gates.argmax(-1).unique()) == 1


def test_weights_of_zero_leave_their_losses_out(folder):
    assert not routing(folder, imbalance=0.0, confidence=0.0).train()(TOKENS, told(0, 1, 2, 3)).losses


def test_a_trained_copy_of_the_centroids_learns_and_the_centroids_stay(folder):
    case = routing(folder, centroids="trained").train()
    before = case.centroids.clone()
    sum(case(TOKENS, told(0, 1, 2, 3)).losses.values()).backward()
    assert case.placing.codes.grad.abs().sum() > 0
    assert torch.equal(case.centroids, before)
    assert "placing.codes" not in routing(folder).state_dict()


def test_fixed_paths_are_the_digits_of_the_cluster(folder):
    options = FixedRoutingOptions(clusters=str(folder), experts=2, blocks=[-3, -1, 0])
    found = [FixedRouting(options, Context(depth=4, block=block)).gates().argmax(-1).tolist() for block in (0, 1, 3)]
    assert found == [[0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_a_forward_that_does_not_say_whose_images_these_are_is_refused(folder):
    with pytest.raises(UserError, match="not told which images") as caught:
        routing(folder)(TOKENS, None)
    assert "facts_of" in caught.value.hint


def test_more_opened_experts_than_there_are_is_refused(folder):
    with pytest.raises(UserError, match="top_k is 5, of 4"):
        routing(folder, top_k=5)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "clusters.json").unlink(), "never finished"),
        (lambda folder: (folder / "clusters.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "clusters.safetensors").write_bytes(b"1"), "damaged"),
        (lambda folder: [path.unlink() for path in folder.glob("clusters.*")], "holds no clusters"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong_and_how_to_make_another(folder, spoil, said):
    spoil(folder)
    with pytest.raises(UserError, match=said) as caught:
        read_clusters(folder)
    assert "sslcli moce cluster" in caught.value.hint


def recipe_of(tiny_recipe, folder, **tables):
    """A masked autoencoder with experts in the second block."""
    loss = {"name": "mae", "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
    routed = {"name": "moce.cluster", "clusters": str(folder), "experts": 4, "blocks": [-1]}
    joined = {"routing": {**routed, **tables.pop("routing", {})}, "backbone": {"patch_size": 4}} | tables
    return tiny_recipe(loss=[loss], **joined)


def tensors_of(run_folder):
    """Everything that the newest checkpoint of a run holds."""
    newest = max((run_folder / "checkpoints").glob("step-*"))
    files = [newest / "model.safetensors", newest / "optimizer.safetensors"]
    return {f"{path.name}:{name}": tensor for path in files for name, tensor in load_file(path).items()}


def test_a_run_logs_its_routing_and_can_be_judged_on_pictures_it_has_no_number_for(
    tiny_recipe, folder, picture_folder, tmp_path, capsys
):
    recipe = recipe_of(tiny_recipe, folder)
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert {"routing/imbalance", "routing/confidence", "routing/entropy", "routing/certainty"} <= line.keys()
    capsys.readouterr()
    assert run(["eval", "knn", str(tmp_path / "run"), "--data", str(picture_folder), "--k", "2", "--no-cache"]) == 0


def test_new_pictures_are_placed_by_the_nearest_centroid(tiny_recipe, folder, tmp_path):
    recipe = recipe_of(tiny_recipe, folder)
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    backbone = open_subject(str(tmp_path / "run")).encoder.backbone.eval()
    images = torch.randn(3, 3, 16, 16)
    (_, experts), *_ = experts_in(backbone)
    cluster = experts.routing.recognise(images)["cluster"]
    with torch.no_grad():
        found, expected = (
            backbone.features(images),
            backbone.encode(backbone.embed(images), columns={"cluster": cluster}),
        )
    assert torch.equal(found.normed, expected.normed)
    (encoder,) = experts.routing.placing.encoder
    assert torch.equal(cluster, (encoder(images) @ experts.routing.centroids.T).argmax(-1))


def test_the_encoder_is_shown_pictures_as_it_knows_them_whatever_the_backbone_is_shown(folder):
    pixels, mean, std = torch.rand(5, 3, 16, 16), (0.2, 0.5, 0.6), (0.3, 0.1, 0.5)
    found = Recogniser(folder / "encoder", mean, std)(prepared(pixels, mean, std))
    model = timm.create_model(f"local-dir:{folder / 'encoder'}", pretrained=True).eval()
    with torch.no_grad():
        tokens = model.forward_features(prepared(pixels, model.pretrained_cfg["mean"], model.pretrained_cfg["std"]))
    torch.testing.assert_close(found, normalize(tokens[:, 1:].mean(dim=1), dim=1), atol=1e-5, rtol=0)


def prepared(pixels, mean, std):
    """Pixels `[B, 3, H, W]` less a mean, by a deviation."""
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def test_straight_through_gates_and_equal_experts_begin_with_the_loss_of_the_dense_run(tiny_recipe, folder, tmp_path):
    dense = recipe_of(tiny_recipe, folder, train={"epochs": 1.0})
    document = load_recipe(str(dense)).document
    start = tiny_recipe(**{key: document[key] for key in ("loss", "backbone")})
    assert run(["pretrain", str(start), "--output", str(tmp_path / "start"), "--quiet"]) == 0
    goes_on = {"init": str(tmp_path / "start"), "train": {"init_losses": True}}
    plain = tiny_recipe(loss=document["loss"], backbone={"patch_size": 4}, **goes_on)
    assert run(["pretrain", str(plain), "--output", str(tmp_path / "plain"), "--quiet"]) == 0
    exact = {"gate_scale": "straight_through", "perturbation": 0.0, "imbalance": 0.0, "confidence": 0.0}
    mixture = recipe_of(tiny_recipe, folder, routing=exact, **goes_on)
    assert run(["pretrain", str(mixture), "--output", str(tmp_path / "moce"), "--quiet"]) == 0
    first = [json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("plain", "moce")]
    assert first[1]["mae"] == pytest.approx(first[0]["mae"], rel=1e-6)
    fresh = json.loads((tmp_path / "start" / "metrics.jsonl").read_text().splitlines()[0])
    assert first[0]["mae"] < fresh["mae"]  # the decoder came along


def test_a_zero_gate_scales_the_branch_by_one_in_the_number_of_experts(tiny_recipe, folder):
    recipe = recipe_of(tiny_recipe, folder, routing={"gate_deviation": 0.0, "experts": 8, "perturbation": 0.0})
    backbone = Session.open(load_recipe(str(recipe)), Quiet()).model().student.eval()
    (_, experts), *_ = experts_in(backbone)
    tokens = torch.randn(2, 5, 32)
    experts.columns = {"cluster": torch.tensor([0, 3])}
    torch.testing.assert_close(experts(tokens), experts.experts[0](tokens) / 8)


def test_other_pictures_than_those_that_were_clustered_are_refused_before_training(
    tiny_recipe, folder, tmp_path, capsys
):
    from sslcli.testing.pictures import write_pictures

    other = write_pictures(tmp_path / "other", count=16)
    assert run(["pretrain", str(recipe_of(tiny_recipe, folder)), "--data", str(other), "--dry-run"]) == 2
    assert "are of other pictures" in capsys.readouterr().err


def test_weights_that_were_trained_with_other_clusters_are_refused(
    tiny_recipe, folder, picture_folder, tmp_path, capsys
):
    first, goes_on = str(tmp_path / "first"), ["--set", f'init="{tmp_path / "first"}"', "--quiet"]
    assert run(["pretrain", str(recipe_of(tiny_recipe, folder)), "--output", first, "--quiet"]) == 0
    assert run(["pretrain", first + "/recipe.toml", "--output", str(tmp_path / "same"), *goes_on]) == 0
    write_example(folder, str(picture_folder), seed=1)
    capsys.readouterr()
    assert run(["pretrain", first + "/recipe.toml", "--output", str(tmp_path / "other"), *goes_on]) == 2
    assert "their centroids differ" in capsys.readouterr().err
    assert run(["eval", "knn", first, "--data", str(picture_folder), "--k", "2", "--no-cache"]) == 2
    assert "their centroids differ" in capsys.readouterr().err


def test_a_loss_on_mixed_images_is_refused_in_words(tiny_recipe, folder, capsys):
    views = {"mixed": {"augmentation": "mixedae.mix", "source": "global"}}
    loss = [{"name": "mixedae.reconstruction", "views": "mixed", "decoder_width": 16, "decoder_depth": 1}]
    recipe = tiny_recipe(
        loss=loss,
        views=views,
        backbone={"patch_size": 4},
        routing={"name": "moce.cluster", "clusters": str(folder), "experts": 2, "blocks": [-1]},
    )
    assert run(["pretrain", str(recipe), "--output", str(recipe.parent / "run"), "--quiet"]) == 2
    assert "mixed images have no cluster" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_to_the_bit(tiny_recipe, folder, tmp_path):
    recipe = recipe_of(tiny_recipe, folder, train={"epochs": 3.0}, checkpoint={"every_steps": 4, "keep": 9})
    for name in ("whole", "parts"):
        assert run(["pretrain", str(recipe), "--output", str(tmp_path / name), "--quiet"]) == 0
    for file in (tmp_path / "parts" / "checkpoints" / "step-00000009").iterdir():
        file.unlink()
    assert run(["pretrain", "--resume", str(tmp_path / "parts")]) == 0
    whole, parts = (tensors_of(tmp_path / name) for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert [name for name in parts if not parts[name].equal(whole[name])] == []


@pytest.mark.slow
@pytest.mark.parametrize("regularised", ["batch", "data"])
def test_two_processes_train_what_one_trains(tiny_recipe, run_sslcli, folder, tmp_path, regularised):
    recipe = recipe_of(
        tiny_recipe,
        folder,
        routing={"regularised": regularised, "imbalance": 1.0, "confidence": 0.5, "gate_deviation": 1.0},
        optimizer={"name": "sgd", "lr": 0.05},
    )
    for name, processes in (("one", 1), ("two", 2)):
        done = run_sslcli("pretrain", recipe, "--output", name, "--processes", processes)
        assert done.returncode == 0, done.stderr
    one, two = (tensors_of(tmp_path / name) for name in ("one", "two"))
    torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-4)
