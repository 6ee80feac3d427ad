"""`sslcli moce study`: the negative-transfer experiment on one's own data, from the first training to the figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import Interrupted, UserError
from sslcli_moce.commands.select_expert import Voting
from sslcli_moce.commands.study_plan import ALL, MOCE, START, A, B, Wishes

OWN = {  # what belongs to the study, and the option that says it
    "data.train": "--data",
    "data.split": "--data SPEC@SPLIT",
    "data.part": "--halves, or name other --data",
    "init": "--init",
    "routing.clusters": "--clusters, or --moce-run",
    "train.seed": "--seed",
}


def study(
    more: Annotated[list[str] | None, typer.Argument(metavar="SPEC", help="More tasks.")] = None,
    data: Annotated[str, typer.Option(metavar="SPEC", help="The pictures to train on; labels are not read.")] = "",
    tasks: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Labelled pictures to judge on; repeatable.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="STUDY", help="The study's folder.")] = None,
    start: Annotated[str, typer.Option(metavar="RECIPE", help="The dense backbone all begin with.")] = "mae/tiny",
    dense: Annotated[str, typer.Option(metavar="RECIPE", help="It, trained on.")] = "moce/dense-tiny",
    recipe: Annotated[str, typer.Option(metavar="RECIPE", help="It, trained on with experts.")] = "moce/tiny",
    clusters: Annotated[int, typer.Option(min=2, help="Clusters that the start's features are put in.")] = 256,
    vote: Annotated[
        Voting, typer.Option(help="A task's experts: those of its largest cluster, or those with most votes.")
    ] = Voting.LARGEST,
    halves: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Parts of the data, instead of halves by clusters.")
    ] = None,
    init: Annotated[str, typer.Option(metavar="RUN", help="A start that is there already.")] = "",
    dense_run: Annotated[str, typer.Option(metavar="RUN", help="A dense one on everything, trained already.")] = "",
    a_run: Annotated[str, typer.Option(metavar="RUN", help="The same on half A.")] = "",
    b_run: Annotated[str, typer.Option(metavar="RUN", help="The same on half B.")] = "",
    moce_run: Annotated[str, typer.Option(metavar="RUN", help="A mixture of experts, trained already.")] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="For all trainings; routing.* for MoCE's alone. Repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of trainings, clusters, halves and intervals.")] = 0,
    k: Annotated[int, typer.Option(min=1, help="Neighbours that vote in kNN.")] = 20,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps and their cost, do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell little of the trainings.")] = False,
    json: AsJson = False,
) -> None:
    """Does everything you train on help every task? Train on all, on halves, and with experts, and compare.

    A dense start is trained and its features clustered; the clusters make two halves. The start is trained on, on
    everything, on each half, and with experts (MoCE). All are judged on every task by kNN and a linear classifier.
    Where a half beats everything, the other half hurt: negative transfer. STUDY/study.md, .json and .png tell all.

    Ctrl-C loses nothing: the same command goes on. What it trains can be trained elsewhere: --dry-run prints how.

    \b
    sslcli moce study --data ./pictures --tasks ./birds ./cars hf:food101 -o study --dry-run
    sslcli moce study --data ./pictures --tasks ./birds ./cars hf:food101 -o study
    sslcli moce study --data demo --tasks demo --clusters 16 --set train.epochs=9 -o quick
    sslcli moce study --data ./imagenet --halves moce/imagenet-artifacts moce/imagenet-rest --init runs/mae \\
        --dense moce/dense-vit_base-imagenet --recipe moce/vit_base-imagenet --tasks ./birds ./cars -o study
    """
    specs = [*(tasks or ()), *(more or ())]
    refuse_unsaid(data, specs, output)
    refuse_own(overrides or ())
    assert output is not None
    given = {START: init, ALL: dense_run, A: a_run, B: b_run, MOCE: moce_run}
    wishes = Wishes(
        data=data,
        study=output,
        start=start,
        dense=dense,
        recipe=recipe,
        given={name: run for name, run in given.items() if run},
        halves=halves,
        clusters=clusters,
        vote=vote.value,
        sets=tuple(overrides or ()),
        seed=seed,
    )
    try:
        report = conduct(wishes, specs, k=k, dry_run=dry_run, quiet=quiet)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", "the same command goes on") from None
    print_json(report) if json else show(report)


def refuse_unsaid(data: str, specs: Sequence[str], output: Path | None) -> None:
    """What a study cannot do without."""
    if not data:
        raise UserError("what to train on is not said", "such as '--data ./pictures'")
    if not specs:
        raise UserError("no task is named", "labelled pictures to judge on: '--tasks ./birds ./cars'")
    if output is None:
        raise UserError("where to write is not said", "such as '-o study'")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file, not a folder", "name another with -o")


def refuse_own(sets: Sequence[str]) -> None:
    """What a study sets for each run itself."""
    for flag in sets:
        key = flag.partition("=")[0].strip()
        if key in OWN:
            raise UserError(f"--set {flag}: a study sets {key} itself", f"say it by {OWN[key]}")


def conduct(wishes: Wishes, specs: Sequence[str], *, k: int, dry_run: bool, quiet: bool) -> dict[str, Any]:
    """The whole study, or with `dry_run` its steps. Everything that can be wrong is looked at first."""
    from sslcli.data.sources import open_source
    from sslcli.training.launch import inside_a_launch
    from sslcli_moce.commands.making import enough
    from sslcli_moce.commands.study_judging import open_study_tasks
    from sslcli_moce.commands.study_plan import check, make_plan
    from sslcli_moce.commands.study_steps import costs, judged, look_at_given, train_all

    if inside_a_launch():
        raise UserError("a study is one process", "train on several by the commands of --dry-run, then call it alone")
    plan = make_plan(wishes)
    look_at_given(wishes.given)
    for line in check(plan):
        talk(f"warning: {line}")
    source = open_source(wishes.data)
    talk(source.said)
    tasks = open_study_tasks(specs, wishes.seed)
    if MOCE in plan.trainings:
        enough(len(source), wishes.clusters, wishes.data)
    steps = costs(plan, source)
    if dry_run:
        return {"data": source.spec, "steps": steps, "cost": sum(step.get("cost", 0.0) for step in steps)}
    train_all(plan, source, quiet=quiet)
    return judged(plan, source, tasks, k, costs(plan, source))


def show(report: dict[str, Any]) -> None:
    """The report for a person: the steps and their cost, or the scores and what they say."""
    from sslcli_moce.commands.study_plan import HEADS, line_of
    from sslcli_moce.commands.study_report import CAUTION, choices_in_words, rows_of

    if "steps" in report:
        table(map(line_of, report["steps"]), HEADS)
        print(f"\n{report['cost']:g} epochs of all pictures are to be trained; by hand, here or elsewhere:\n")
        for command in filter(None, (step["command"] for step in report["steps"])):
            print(command)
        return
    rows, heads = rows_of(report)
    table(rows, heads)
    print()
    for line in (*report["said"], *choices_in_words(report), CAUTION):
        print(line)
    print(report["study"])
