"""The negative-transfer study: its plan, what its numbers say in words, and a small one from beginning to end."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sslcli_moce.commands.study_judging import StudyTask, refuse_unequal
from sslcli_moce.commands.study_plan import ALL, MOCE, START, A, B, Wishes, check, make_plan, steps_of
from sslcli_moce.commands.study_report import MEAN, differences_of, rows_of, scores_of, verdicts

from sslcli.cli import run
from sslcli.errors import RunError, UserError
from sslcli.testing.pictures import write_pictures
from sslcli.testing.recipes import tiny_document, write_recipe
from sslcli.training.loop import Loop

HEADS = {"loss": [{"name": "mae", "decoder_width": 32, "decoder_depth": 1, "decoder_heads": 2}]}
ROUTING = {"name": "moce.cluster", "clusters": "clusters", "experts": 2, "blocks": [-1]}


@pytest.fixture(autouse=True)
def own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recipes(tmp_path: Path) -> Mapping[str, str]:
    """Recipes of a start, of its dense twin and of MoCE, that train in seconds."""
    more: dict[str, dict[str, Any]] = {"start": {}, "dense": {}, "recipe": {"routing": ROUTING}}
    documents = {name: tiny_document("pictures", **HEADS, **tables) for name, tables in more.items()}
    for document in documents.values():
        document["train"]["batch_size"] = 6
    return {name: str(write_recipe(tmp_path / f"{name}.toml", document)) for name, document in documents.items()}


@pytest.fixture
def wishes(tmp_path: Path, recipes: Mapping[str, str]) -> Callable[..., Wishes]:
    """`wishes(seed=1)`: what a person asks for."""

    def make(**asked: Any) -> Wishes:
        return Wishes(**{"data": "pictures", "study": tmp_path / "study", "given": {}, **recipes, **asked})

    return make


def test_the_dense_twins_go_on_from_the_start_for_as_many_epochs_as_moce(wishes: Callable[..., Wishes]) -> None:
    plan = make_plan(wishes(sets=("routing.experts=3", "train.batch_size=4")))
    loaded = {name: training.load() for name, training in plan.trainings.items()}
    assert list(loaded) == [START, ALL, A, B, MOCE]
    assert {loaded[name].init for name in (ALL, A, B, MOCE)} == {plan.runs[START]}
    assert len({recipe.train.epochs for recipe in loaded.values()}) == 1
    assert (loaded[A].data.part, loaded[B].data.part) == plan.halves
    assert [recipe.routing is not None for recipe in loaded.values()] == [False] * 4 + [True]
    assert {recipe.train.batch_size for recipe in loaded.values()} == {4}


def test_runs_that_are_there_are_not_trained_and_a_start_that_nothing_grows_out_of_is_left_out(
    wishes: Callable[..., Wishes],
) -> None:
    some = make_plan(wishes(given={START: "mae", ALL: "dense"}))
    assert list(some.trainings) == [A, B, MOCE]
    assert some.trainings[A].load().init == "mae"
    all_given = make_plan(wishes(given={ALL: "dense", A: "a", B: "b", MOCE: "moce"}))
    assert not all_given.trainings
    assert START not in all_given.runs


def test_two_halves_cost_one_epoch_of_all_pictures(wishes: Callable[..., Wishes]) -> None:
    plan = make_plan(wishes())
    epochs = plan.trainings[ALL].load().train.epochs
    unknown = steps_of(plan, {A: None, B: None}, 24)
    known = steps_of(plan, {A: 18, B: 6}, 24)
    for steps in (unknown, known):
        assert sum(step.get("cost", 0) for step in steps) == pytest.approx(4 * epochs)
    assert [step["step"] for step in known] == [START, "clusters", ALL, A, B, MOCE]


def test_a_comparison_that_is_not_fair_is_told(wishes: Callable[..., Wishes], tmp_path: Path) -> None:
    assert check(make_plan(wishes())) == []
    of_the_gate = {"*.routing.gate.weight": 20.0}
    gated = tiny_document("pictures", **HEADS, routing=ROUTING, optimizer={"lr_factors": of_the_gate})
    gated["train"]["batch_size"] = 6
    write_recipe(tmp_path / "recipe.toml", gated)
    assert check(make_plan(wishes())) == []
    faster = tiny_document("pictures", **HEADS, optimizer={"lr": 0.002}, train={"batch_size": 6})
    write_recipe(tmp_path / "dense.toml", faster)
    (warning,) = check(make_plan(wishes()))
    assert warning.endswith("differ in more than the experts: optimizer.lr is 0.001 and 0.002")


def test_a_recipe_without_clusters_is_refused(wishes: Callable[..., Wishes], recipes: Mapping[str, str]) -> None:
    with pytest.raises(UserError, match="routes by no clusters"):
        make_plan(wishes(recipe=recipes["dense"]))


def truths(share: float, count: int = 400) -> torch.Tensor:
    """So many of the pictures right, the first ones."""
    return torch.arange(count) < round(share * count)


@pytest.fixture
def right() -> dict[str, dict[str, list[torch.Tensor]]]:
    """On birds half A is better than everything, on cars both halves are worse, on food they are equal."""
    models = {
        ALL: [truths(0.5), truths(0.5), truths(0.5)],
        A: [truths(0.6), truths(0.4), truths(0.5)],
        B: [truths(0.3), truths(0.4), truths(0.5)],
        MOCE: [truths(0.62), truths(0.5), truths(0.5)],
    }
    return {"knn": models}


def test_negative_transfer_is_said_only_where_the_interval_excludes_nothing_else(
    right: dict[str, dict[str, list[torch.Tensor]]],
) -> None:
    tasks = ["birds", "cars", "food"]
    halves, experts = verdicts(differences_of(right, tasks, seed=0), tasks)
    assert halves == (
        "kNN: negative transfer on 1 of 3 tasks: birds (dense-a, +10.0); "
        "everything is better than either half on cars; not told apart: food"
    )
    assert experts.startswith(
        "kNN: of 3 tasks, MoCE's expert against dense-all is better on 1 (birds), not told apart on 2 (cars, food); "
        "in the mean +4.0 ["
    )


def test_a_difference_too_small_for_its_pictures_is_not_told_apart() -> None:
    few = {"knn": {ALL: [truths(0.5, 20)], A: [truths(0.55, 20)], B: [truths(0.5, 20)]}}
    (said,) = verdicts(differences_of(few, ["birds"], seed=0), ["birds"])
    assert said == "kNN: negative transfer on 0 of 1 task; not told apart: birds"


def test_the_table_has_a_line_for_each_model_and_each_difference(
    right: dict[str, dict[str, list[torch.Tensor]]],
) -> None:
    tasks = ["birds", "cars", "food"]
    scores, differences = scores_of(right, tasks, seed=0), differences_of(right, tasks, seed=0)
    rows, heads = rows_of({"tasks": [{"name": name} for name in tasks], "scores": scores, "differences": differences})
    assert heads == ("by", "model", *tasks, MEAN)
    assert [row[1] for row in rows] == [
        ALL,
        A,
        B,
        MOCE,
        "dense-a - dense-all",
        "dense-b - dense-all",
        "moce - dense-all",
    ]
    assert rows[0][2].startswith("50.0 [4")
    assert rows[-1][3] == "+0.0 [+0.0, +0.0]"


def test_models_that_were_judged_on_different_pictures_are_not_compared() -> None:
    task: Any = StudyTask("birds", "birds", None)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="the pictures of birds changed"):
        refuse_unequal({"knn": {ALL: [truths(0.5)], A: [truths(0.5, 10)]}}, [task])


@pytest.fixture
def call(recipes: Mapping[str, str], tmp_path: Path) -> Callable[..., int]:
    """`call("--dry-run")`: the exit code of a study on 24 pictures, with two tasks."""
    write_pictures(tmp_path / "pictures")
    write_pictures(tmp_path / "shapes", 40)
    options = [word for name, path in recipes.items() for word in (f"--{name}", path)]

    def study(*more: str, tasks: tuple[str, ...] = ("pictures", "shapes")) -> int:
        fixed = ["--clusters", "4", "--k", "3", "--set", "data.workers=0", "--quiet", "-o", "study"]
        return run(["moce", "study", "--data", "pictures", *options, *fixed, *more, "--tasks", *tasks])

    return study


def test_a_dry_run_tells_the_steps_and_writes_nothing(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("--dry-run") == 0
    out = capsys.readouterr().out
    assert "dense-a    0.666667  a half    to do" in out
    assert "2.66667 epochs of all pictures are to be trained" in out
    assert "sslcli moce cluster study/runs/start --data pictures --clusters 4 --seed 0 -o study/clusters" in out
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--data", "pictures", "-o", "study"], "no task is named"),
        (["--tasks", "pictures", "-o", "study"], "what to train on is not said"),
        (["--data", "pictures", "--tasks", "pictures"], "where to write is not said"),
        (["--data", "pictures", "--tasks", "nowhere", "-o", "s"], "no folder nowhere"),
        (["--data", "pictures", "--tasks", "pictures", "-o", "s"], "256 clusters of 24 pictures"),
        (["--data", "pictures", "--tasks", "pictures", "-o", "s", "--set", "train.epoch=1"], "train.epoch"),
        (["--data", "pictures", "--tasks", "pictures", "-o", "s", "--set", "init=x"], "a study sets init itself"),
        (["--data", "pictures", "--tasks", "pictures", "-o", "s", "--dense-run", "gone"], "there is no gone"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_trained(
    call: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert run(["moce", "study", *arguments]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
def test_a_study_trains_judges_and_writes_and_the_second_time_only_judges(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    assert call("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {path.name for path in (study / "runs").iterdir()} == {START, ALL, A, B, MOCE}
    assert len(report["scores"]) == 2 * 5 * 3
    assert report["scores"] == json.loads((study / "study.json").read_text())["scores"]
    rows = [json.loads((study / "halves" / f"{half}.json").read_text())["rows"] for half in "ab"]
    assert sorted(rows[0] + rows[1]) == list(range(24))
    assert Image.open(study / "study.png").size[0] > 600
    assert "| kNN | moce - dense-all |" in (study / "study.md").read_text()

    age = (study / "runs" / MOCE / "backbone.safetensors").stat().st_mtime_ns
    assert call("--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["scores"] == report["scores"]
    assert "clusters: study/clusters, finished" in captured.err
    assert (study / "runs" / MOCE / "backbone.safetensors").stat().st_mtime_ns == age

    assert call("--set", "optimizer.lr=0.01") == 2
    assert "was trained otherwise: optimizer.lr is 0.001, and 0.01 is asked for" in capsys.readouterr().err


@pytest.mark.slow
def test_halves_can_be_named_runs_handed_in_and_a_study_have_one_task(
    call: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, number in (("round", 0), ("square", 1)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"classes": [number]}))
    assert call("--halves", "round.json", "square.json", tasks=("pictures",)) == 0
    out = capsys.readouterr().out
    assert "dense-b - dense-all" in out
    assert "pictures: experts " in out
    assert out.splitlines()[-1] == "study"
    environment = json.loads((tmp_path / "study" / "runs" / B / "environment.json").read_text())
    assert environment["data"]["part"] == str(tmp_path / "square.json")
    given = ["--dense-run", "study/runs/dense-all", "--a-run", "study/runs/dense-a", "--b-run", "study/runs/dense-b"]
    assert call("-o", "other", *given, "--moce-run", "study/runs/moce", tasks=("pictures",)) == 0
    assert not (tmp_path / "other" / "runs").exists()


@pytest.mark.slow
def test_an_interrupted_study_says_that_the_same_command_goes_on(
    call: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Loop.micro_step

    def interrupted(self: Loop, *arguments: Any, **named: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "micro_step", interrupted)
        assert call() == 130
    assert capsys.readouterr().err.endswith("stopped by SIGINT after step 1; saved\nhint: the same command goes on\n")
    assert call() == 0
    assert "start: study/runs/start, begun" in capsys.readouterr().err
