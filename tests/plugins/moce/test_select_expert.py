"""`sslcli moce select-expert` and `sslcli moce routing`, on a mixture that never trained."""

import json
import shutil

import pytest
import timm
import torch
from sslcli_moce.commands import handing
from sslcli_moce.commands.voting import name_of, unique
from sslcli_moce.example import write_example

from sslcli.cli import run as sslcli
from sslcli.nn.stored import save_backbone
from sslcli.recipe import load_recipe
from sslcli.testing.recipes import tiny_document, write_recipe
from sslcli.training.building import build_backbone, build_pretraining, context_of
from sslcli.training.checkpoint import Checkpoints, Saved, model_tensors
from sslcli.training.export import card_of

ROUTING = {"name": "moce.cluster", "experts": 3, "blocks": [0, 1], "gate_deviation": 3.0}


def write_run(folder, pictures, routing):
    """A run as it is when it has ended."""
    folder.mkdir()
    recipe = load_recipe(write_recipe(folder / "recipe.toml", tiny_document(pictures, routing=routing)))
    context = context_of(recipe, samples=24)
    backbone = build_backbone(recipe, context)
    torch.manual_seed(0)
    for name, parameter in backbone.named_parameters():
        if "routing" not in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    save_backbone(folder, backbone, card_of(recipe, context) | {"step": 6})
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, picture_folder):
    """A folder with `clusters` and the `run` that they belong to."""
    folder = tmp_path_factory.mktemp("moce")
    clusters = write_example(folder / "clusters", str(picture_folder))
    write_run(folder / "run", picture_folder, ROUTING | {"clusters": str(clusters)})
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def call(made, tmp_path, capsys):
    """`call("--dataset", SPEC)`: exit code, the JSON on stdout, and stderr; into the folder `out`."""

    def select(*arguments, run=None, out=tmp_path / "out"):
        code = sslcli(
            ["moce", "select-expert", str(run or made / "run"), *map(str, arguments), "-o", str(out), "--json"]
        )
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return select


def test_one_task_makes_its_folder_a_backbone_that_plain_timm_opens(call, picture_folder, tmp_path):
    code, report, _ = call("--dataset", picture_folder)
    (task,) = report["tasks"]
    assert code == 0
    assert (task["pictures"], task["folder"], task["blocks"]) == (24, ".", [0, 1])
    assert task["difference"] < 1e-5
    assert timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).embed_dim == 32
    assert json.loads((tmp_path / "out" / "choice.json").read_text())["experts"] == task["experts"]
    assert json.loads((tmp_path / "out" / "choices.json").read_text())["tasks"] == [task]


def test_the_votes_of_a_task_add_up_and_elect_what_was_chosen(call, picture_folder):
    _, report, _ = call("--dataset", picture_folder)
    task, votes = report["tasks"][0], report["tasks"][0]["votes"]
    tables = [votes["clusters"], votes["paths"], *(layer["experts"] for layer in votes["layers"])]
    assert [sum(vote["pictures"] for vote in table) for table in tables] == [24] * 4
    assert votes["clusters"][0]["cluster"] == task["cluster"]
    assert votes["clusters"][0]["experts"] == task["experts"]


def test_an_extracted_backbone_is_judged_like_any_other(call, picture_folder, tmp_path, capsys):
    call("--dataset", picture_folder)
    assert sslcli(["eval", "knn", str(tmp_path / "out"), "--data", str(picture_folder), "--k", "3", "--json"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert "with experts" in judged["judged"]
    assert judged["width"] == 32


@pytest.mark.parametrize("repeated", [True, False])
def test_several_tasks_have_a_folder_each_and_one_report(call, picture_folder, tmp_path, repeated):
    specs = [str(picture_folder), str(next(path for path in picture_folder.iterdir() if path.is_dir()))]
    code, report, _ = call(*(["--dataset", specs[0], "--dataset", specs[1]] if repeated else ["--dataset", *specs]))
    names = [name_of(spec) for spec in specs]
    assert (code, [task["folder"] for task in report["tasks"]]) == (0, names)
    assert all((tmp_path / "out" / name / "backbone.safetensors").is_file() for name in names)
    table = (tmp_path / "out" / "choices.md").read_text()
    assert all(f"| {name} |" in table for name in names)


def test_all_gives_a_backbone_for_every_path_that_some_cluster_takes(call, made, tmp_path):
    code, report, _ = call("--all")
    folders = [expert["folder"] for expert in report["experts"]]
    assert code == 0
    assert len(folders) > 1
    assert sum(expert["pictures"] for expert in report["experts"]) == 24
    assert all((tmp_path / "out" / folder / "choice.json").is_file() for folder in folders)
    assert [f"experts-{'-'.join(map(str, expert['experts']))}" for expert in report["experts"]] == folders


def test_all_tells_a_person_where_the_backbones_are(made, tmp_path, capsys):
    assert sslcli(["moce", "select-expert", str(made / "run"), "--all", "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith(f"\nbackbones in {tmp_path / 'out'}\n")


def test_a_limit_takes_so_many_pictures(call, picture_folder):
    _, report, _ = call("--dataset", picture_folder, "--limit", 7)
    assert report["tasks"][0]["pictures"] == 7
    assert "only 7 pictures vote" in report["tasks"][0]["doubts"]


def test_a_checkpoint_of_a_run_that_has_not_ended_will_do(call, made, picture_folder, tmp_path):
    shutil.copytree(made / "run", tmp_path / "run", ignore=shutil.ignore_patterns("backbone*", "config*"))
    recipe = load_recipe(tmp_path / "run" / "recipe.toml")
    context = context_of(recipe, samples=24)
    model = build_pretraining(recipe, context, build_backbone(recipe, context))
    Checkpoints(tmp_path / "run", keep=1).save(4, Saved(model_tensors(model), {}, {"step": 4}))
    code, report, said = call("--dataset", picture_folder, run=tmp_path / "run")
    assert code == 0, said
    card = json.loads((tmp_path / "out" / "config.json").read_text())["sslcli"]
    assert (card["step"], card["backbone"]["name"], card["moce"]["experts"]) == (
        4,
        "vit",
        report["tasks"][0]["experts"],
    )


def test_a_folder_is_replaced_only_when_asked_and_what_else_lies_in_it_stays(call, picture_folder, tmp_path):
    call("--dataset", picture_folder, str(picture_folder))
    (tmp_path / "out" / "mine.txt").write_text("words")
    code, _, said = call("--dataset", picture_folder)
    assert (code, "--again" in said) == (2, True)
    assert call("--dataset", picture_folder, "--again")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "backbone.safetensors",
        "choice.json",
        "choices.json",
        "choices.md",
        "config.json",
        "mine.txt",
    ]


def test_a_folder_of_something_else_is_never_written_into(call, picture_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "of.txt").write_text("words")
    code, _, said = call("--dataset", picture_folder, "--again")
    assert (code, "holds something else" in said) == (2, True)


def test_nothing_is_left_when_the_features_are_not_those_of_the_mixture(call, picture_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(handing, "TOLERANCE", -1.0)
    code, _, said = call("--dataset", picture_folder)
    assert (code, "differ from the mixture's by up to" in said) == (1, True)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no task is named"),
        (("--dataset", "nowhere"), "no folder nowhere"),
        (("--dataset", "demo@nothing"), "no split 'nothing'"),
    ],
)
def test_wrong_data_are_told_and_nothing_is_written(call, tmp_path, arguments, said):
    code, _, error = call(*arguments)
    assert (code, said in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_an_ordinary_backbone_is_no_mixture(call, picture_folder, tmp_path, tiny_recipe):
    call("--dataset", picture_folder)
    for ordinary in ("pixels", tmp_path / "out", f"random:{tiny_recipe()}"):
        code, _, said = call("--dataset", picture_folder, run=ordinary, out=tmp_path / "two")
        assert (code, "is no mixture of experts" in said) == (2, True)


def test_a_routing_by_token_is_told_to_have_no_expert_of_a_cluster(call, picture_folder, tmp_path):
    routing = {"name": "token", "experts": 2, "blocks": [1]}
    document = tiny_document(picture_folder, routing=routing)
    code, _, said = call("--dataset", picture_folder, run=f"random:{write_recipe(tmp_path / 'token.toml', document)}")
    assert (code, "no expert is that of a cluster" in said) == (2, True)


def test_clusters_that_were_moved_are_named_anew(call, made, picture_folder, tmp_path):
    shutil.copytree(made / "clusters", tmp_path / "moved")
    gone = ROUTING | {"clusters": str(tmp_path / "gone")}
    shutil.copytree(made / "run", tmp_path / "run")
    write_recipe(tmp_path / "run" / "recipe.toml", tiny_document(picture_folder, routing=gone))
    code, _, said = call("--dataset", picture_folder, run=tmp_path / "run")
    assert (code, "hint: say where they are: --clusters" in said) == (2, True)
    assert call("--dataset", picture_folder, "--clusters", tmp_path / "moved", run=tmp_path / "run")[0] == 0


@pytest.mark.parametrize("changes", [{"seed": 1}, {"clusters": 4}])
def test_clusters_of_another_run_are_refused(call, picture_folder, tmp_path, changes):
    other = write_example(tmp_path / "other", str(picture_folder), **changes)
    code, _, said = call("--dataset", picture_folder, "--clusters", other)
    assert (code, "their centroids differ" in said) == (2, True)


def test_clusters_without_their_encoder_cannot_place_new_pictures(call, made, picture_folder, tmp_path):
    shutil.copytree(made / "clusters", tmp_path / "half", ignore=shutil.ignore_patterns("encoder"))
    code, _, said = call("--dataset", picture_folder, "--clusters", tmp_path / "half")
    assert (code, "encoder is not there" in said) == (2, True)


def test_a_person_reads_votes_and_how_sure_a_choice_is(made, picture_folder, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert sslcli(["moce", "select-expert", str(made / "run"), "--dataset", str(picture_folder), "-o", out]) == 0
    said = capsys.readouterr().out
    for words in ("of the pictures", "of resamples", "cluster  experts  pictures  share", "share of each expert"):
        assert words in said


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("demo", "demo"),
        ("demo@test", "demo-test"),
        ("parquet:/sets/living-train.parquet", "living-train"),
        ("parquet:/sets/living-*.parquet", "living"),
        ("parquet:/sets/birds/*.parquet", "birds"),
        ("wds:/sets/cars-{000..012}.tar", "cars-000..012"),
        ("/pictures/of birds/", "of-birds"),
        ("hf:user/food101:small@train", "food101-small-train"),
        ("disk:/sets/../flöwers", "flöwers"),
    ],
)
def test_a_task_is_called_after_its_data(spec, name):
    assert name_of(spec) == name


def test_names_of_tasks_are_told_apart_also_where_capitals_are_not():
    assert unique(["birds", "Birds", "birds", "birds-2"]) == ["birds", "Birds-2", "birds-3", "birds-2-2"]


def test_the_routing_is_told_and_drawn(made, tmp_path, capsys):
    assert sslcli(["moce", "routing", str(made / "run"), "-o", str(tmp_path / "a" / "map.png"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (tmp_path / "a" / "map.png").read_bytes().startswith(b"\x89PNG")
    assert [layer["block"] for layer in report["layers"]] == [0, 1]
    for layer in report["layers"]:
        assert sum(layer["load"]) == 24
        assert len(layer["gates"]) == 6
        assert layer["information"] == pytest.approx(layer["entropy_of_mean"] - layer["entropy"])


def test_the_routing_for_a_person_names_every_block_and_dead_experts(made, capsys):
    assert sslcli(["moce", "routing", str(made / "run")]) == 0
    said = capsys.readouterr()
    assert "24 pictures in 6 clusters" in said.out
    assert "block  experts used  entropy" in said.out


def test_a_map_is_a_png(made, capsys):
    assert sslcli(["moce", "routing", str(made / "run"), "-o", "map.svg"]) == 2
    assert "is no PNG" in capsys.readouterr().err
