"""The steps of `sslcli moce study` in order: train, cluster, halve, train on, extract experts, judge, write."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.cli.output import talk
from sslcli.errors import RunError, UserError
from sslcli_moce.commands.study_plan import MOCE, START, A, B

if TYPE_CHECKING:
    from sslcli.data.source import Source
    from sslcli_moce.commands.study_judging import StudyTask
    from sslcli_moce.commands.study_plan import Plan, Training

REPORT, PAGE, FIGURE, EXPERTS = "study.json", "study.md", "study.png", "experts"


def look_at_given(given: Mapping[str, str]) -> None:
    """Runs that are handed in can be opened; told before anything is trained. Raises UserError."""
    from sslcli.evaluation.opening import open_subject
    from sslcli_moce.commands.mixture import open_mixture

    for name, run in given.items():
        open_mixture(run) if name == MOCE else open_subject(run)


def costs(plan: "Plan", source: "Source") -> list[dict[str, Any]]:
    """The steps with what they cost; halves that are there already are counted."""
    from sslcli.data.part import open_part
    from sslcli_moce.commands.study_plan import steps_of

    known: dict[str, int | None] = {}
    for name, half in zip((A, B), plan.halves):
        made_later = plan.halves_made and not Path(half).is_file()
        if name in plan.trainings:
            known[name] = None if made_later else len(open_part(half, source))
    return steps_of(plan, known, len(source))


def train_all(plan: "Plan", source: "Source", *, quiet: bool) -> None:
    """Every run finished, the clusters and the halves made on the way."""
    from sslcli_moce.commands.study_training import carry_out

    if START in plan.trainings:
        carry_out(plan.trainings[START], source, quiet=quiet)
    if plan.clusters is not None and MOCE in plan.trainings:
        make_clusters(plan, source)
    if plan.halves_made:
        make_halves(plan, source)
    for training in plan.trainings.values():
        refuse_small(training, source)
    for name, training in plan.trainings.items():
        if name != START:
            carry_out(training, source, quiet=quiet)


def make_clusters(plan: "Plan", source: "Source") -> None:
    """The clusters of the start's features, unless they are there. Raises UserError when others are there."""
    from sslcli.evaluation.trial import BROKEN_LIMIT
    from sslcli_moce.clustering import Asked
    from sslcli_moce.commands.dense import open_dense
    from sslcli_moce.commands.making import Making, is_finished

    assert plan.clusters is not None  # asked before
    wishes = plan.wishes
    dense, asked = open_dense(plan.runs[START], "mean"), Asked(wishes.clusters, seed=wishes.seed)
    making = Making(dense, source, plan.clusters, asked, processes=1, broken_limit=BROKEN_LIMIT)
    done = is_finished(plan.clusters, making.facts)
    talk(f"clusters: {plan.clusters}, {'finished' if done else 'to do'}")
    if not done:
        making.make(sheet=True)


def make_halves(plan: "Plan", source: "Source") -> None:
    """Two files of rows, by the clusters. Raises UserError where the clusters are those of other pictures."""
    from sslcli.data.part import write_rows
    from sslcli_moce.clusters import read_clusters
    from sslcli_moce.halves import rows_of_halves, split_clusters

    assert plan.clusters is not None  # halves are made of clusters
    clusters = read_clusters(plan.clusters)
    if clusters.manifest.get("fingerprint") != source.fingerprint:
        raise UserError(
            f"the clusters in {plan.clusters} are of other pictures than {source.spec}", "name the same --data"
        )
    second = split_clusters(clusters.centroids, clusters.sizes, seed=plan.wishes.seed)
    rows_of_each = rows_of_halves(clusters.ids, second)
    for name, place, side, rows in zip("AB", map(Path, plan.halves), (~second, second), rows_of_each):
        numbers = ", ".join(map(str, side.nonzero().flatten().tolist()))
        talk(f"half {name}: {len(rows)} pictures, clusters {numbers}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            write_rows(place, source, rows, f"half {name}: clusters {numbers} of {plan.clusters}")
        except OSError as failure:
            raise RunError(f"cannot write {place}: {failure.strerror or failure}", "make room") from failure


def refuse_small(training: "Training", source: "Source") -> None:
    """A half with fewer pictures than a batch is no half to train on; told before the others are trained."""
    from sslcli_moce.commands.study_training import pictures_of

    pictures, batch = len(pictures_of(training, source)), training.load().train.batch_size
    if pictures < batch:
        raise UserError(
            f"{training.name} has {pictures} pictures, fewer than train.batch_size = {batch}",
            "name halves of your own by --halves A B, or begin another study with a smaller batch",
        )


def judged(
    plan: "Plan", source: "Source", tasks: Sequence["StudyTask"], k: int, steps: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Judge every model on every task, write the report, and give it."""
    from sslcli_moce.commands.study_judging import Judge, judge_all
    from sslcli_moce.commands.study_report import differences_of, scores_of, verdicts

    seed, names = plan.wishes.seed, [task.name for task in tasks]
    chosen = experts_of(plan, tasks)
    models = {name: [run] * len(tasks) for name, run in plan.runs.items() if name != MOCE}
    models[MOCE] = [str(plan.wishes.study / EXPERTS / choice["folder"]) for choice in chosen]
    right = judge_all(models, tasks, Judge(k, seed, talk))
    differences = differences_of(right, names, seed)
    report = {
        "study": str(plan.wishes.study),
        "data": source.spec,
        "pictures": len(source),
        "seed": seed,
        "k": k,
        "vote": plan.wishes.vote,
        "clusters": str(plan.clusters or ""),
        "halves": list(plan.halves),
        "models": [model_of(name, plan.runs[name], steps) for name in plan.runs],
        "tasks": [{**task.document(), "expert": choice} for task, choice in zip(tasks, chosen)],
        "scores": scores_of(right, names, seed),
        "differences": differences,
        "said": verdicts(differences, names),
    }
    write_report(plan.wishes.study, report)
    return report


def model_of(name: str, run: str, steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model as plain data: its run, and for how many epochs of how many pictures it was trained here."""
    step = next((step for step in steps if step["step"] == name), {})
    return {"name": name, "run": run, "epochs": step.get("epochs"), "pictures": step.get("pictures")}


def experts_of(plan: "Plan", tasks: Sequence["StudyTask"]) -> list[dict[str, Any]]:
    """Every task's choice, and its expert extracted, as `sslcli moce select-expert` does it."""
    from sslcli.evaluation.trial import Trial
    from sslcli_moce.commands.mixture import open_mixture
    from sslcli_moce.commands.select_expert import extract
    from sslcli_moce.commands.voting import Poll, Task, open_encoder

    mixture = open_mixture(plan.runs[MOCE], note=talk)
    encoder = Trial.of(open_encoder(mixture, talk), note=talk)
    poll = Poll(mixture, encoder, plan.wishes.vote, plan.wishes.seed)
    elected = [poll.elect(Task(task.name, task.spec, task.judged.train)) for task in tasks]
    choices: list[dict[str, Any]] = extract(mixture, elected, plan.wishes.study / EXPERTS, every=False, again=True)[
        "tasks"
    ]
    return choices


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """The report as JSON, as a page with its table, and as a figure. Raises RunError when the disk is full."""
    from sslcli.disk import write_whole
    from sslcli.evaluation.drawings import Drawing
    from sslcli_moce.commands.choices import write_json
    from sslcli_moce.commands.study_figure import study_figure
    from sslcli_moce.commands.study_report import page_of

    try:
        drawn = Drawing("Study", study_figure(report)).png()
        write_whole(folder / FIGURE, lambda path: path.write_bytes(drawn))
        write_whole(folder / PAGE, lambda path: path.write_text(page_of(report), encoding="utf-8"))
        write_json(folder / REPORT, report)
    except OSError as failure:
        raise RunError(f"cannot write to {folder}: {failure.strerror or failure}", "make room") from failure
