"""The probe that a trainer is handed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sslcli.errors import UserError
from sslcli.evaluation import probe as module
from sslcli.evaluation.opening import begin
from sslcli.evaluation.probe import make_probe
from sslcli.evaluation.trial import Sets, Trial
from sslcli.evaluation.vote import knn
from sslcli.recipe import load_recipe

TinyRecipe = Callable[..., Path]


def test_a_recipe_without_a_probe_gets_none(tiny_recipe: TinyRecipe) -> None:
    assert make_probe(load_recipe(tiny_recipe())) is None


def test_the_probe_says_what_judging_the_same_backbone_says(tiny_recipe: TinyRecipe, picture_folder: Path) -> None:
    path = tiny_recipe(probe={"data": str(picture_folder), "k": [3, 9]})
    recipe = load_recipe(path)
    probe = make_probe(recipe)
    assert probe is not None
    scores = probe(begin(recipe))
    train, test = Trial(f"random:{path}", (Sets(str(picture_folder)),)).labelled()
    first, second = knn(train.features, train.labels, test.features, test.labels, ks=(3, 9), classes=2)
    assert scores == {
        "knn_top1": first.top1,
        "knn_top1_k9": second.top1,
        "knn_top5": first.top5,
        "knn_top5_k9": second.top5,
    }


def test_a_second_score_decodes_nothing(
    tiny_recipe: TinyRecipe, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(tiny_recipe(probe={"data": str(picture_folder), "k": [3]}))
    probe = make_probe(recipe)
    assert probe is not None
    first = probe(begin(recipe))
    monkeypatch.setattr(module, "load", lambda *_: pytest.fail("decoded again"))
    assert probe(begin(recipe)) == first


def test_crops_that_do_not_fit_in_memory_are_decoded_again(
    tiny_recipe: TinyRecipe, picture_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_recipe(probe={"data": str(picture_folder), "k": [3]})
    recipe = load_recipe(path, ["data.cache_megabytes=0"])
    probe, loads, original = make_probe(recipe), [], module.load
    assert probe is not None
    monkeypatch.setattr(module, "load", lambda *given: loads.append(1) or original(*given))
    assert probe(begin(recipe)) == probe(begin(recipe))
    assert len(loads) == 4


def test_probing_changes_nothing_of_the_training(tiny_recipe: TinyRecipe, picture_folder: Path) -> None:
    recipe = load_recipe(tiny_recipe(probe={"data": str(picture_folder), "k": [3]}))
    backbone, probe = begin(recipe).train(), make_probe(recipe)
    assert probe is not None
    before, random = {n: t.clone() for n, t in backbone.state_dict().items()}, torch.random.get_rng_state()
    probe(backbone)
    assert backbone.training
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def test_mistakes_of_the_probe_show_before_training(tiny_recipe: TinyRecipe, picture_folder: Path) -> None:
    with pytest.raises(UserError, match="k = 99 is more than the 20"):
        make_probe(load_recipe(tiny_recipe(probe={"data": str(picture_folder), "k": [99]})))
    with pytest.raises(UserError, match="no folder"):
        make_probe(load_recipe(tiny_recipe(probe={"data": "/nowhere/at/all"})))
