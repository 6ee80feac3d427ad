"""`sslcli moce select-expert`: for every task the experts that its pictures ask for, as an ordinary backbone."""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli_moce.commands.mixture import Mixture
    from sslcli_moce.commands.voting import Elected, Task

SHOWN = 5  # lines of each table of votes


class Voting(StrEnum):
    """How votes are counted."""

    LARGEST = "largest"
    HEAVIEST = "heaviest"


def select_expert(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A mixture of experts: a run, a checkpoint or weights.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="SPEC", help="More data sets.")] = None,
    dataset: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="The pictures of a task; repeatable. Labels are not read.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="What is extracted.")] = None,
    vote: Annotated[
        Voting, typer.Option(help="The experts of the largest cluster, or those with most votes over all clusters.")
    ] = Voting.LARGEST,
    every: Annotated[
        bool, typer.Option("--all", help="A backbone for every path through the experts that some cluster takes.")
    ] = False,
    clusters: Annotated[str, typer.Option(metavar="CLUSTERS", help="Where the run's clusters are now.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Only so many pictures a task, evenly spread; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the resamples that tell how sure a choice is.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that extract features, one a GPU.")] = 1,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features, and use kept ones.")] = True,
    broken_limit: Annotated[
        float, typer.Option(min=0, max=1, help="The share of pictures that may be unreadable; they are left out.")
    ] = 0.01,
    again: Annotated[bool, typer.Option("--again", help="Replace what was extracted into DIR before.")] = False,
    json: AsJson = False,
) -> None:
    """Give every task the experts that its pictures ask for, as an ordinary backbone.

    Each training picture of a task votes for its nearest cluster, and so for the experts of that cluster. The winners
    are taken out of the mixture with their gates folded in: plain timm opens DIR. Of several tasks each has a folder in
    DIR by its name. DIR/choices.md and DIR/choices.json tell what was chosen, and how sure that is.

    \b
    sslcli moce select-expert runs/moce --dataset ./birds -o birds
    sslcli moce select-expert runs/moce --dataset ./birds hf:food101 ./cars -o experts
    sslcli moce select-expert runs/moce --all -o every
    sslcli eval knn birds --data ./birds
    """
    specs = [*(dataset or ()), *(more or ())]
    if not specs and not every:
        raise UserError("no task is named", "such as '--dataset ./birds', or --all for every path through the experts")
    if output is None:
        raise UserError("where to write is not said", "such as '-o experts'")
    from sslcli.evaluation.trial import Trial
    from sslcli_moce.commands.choices import refuse_taken
    from sslcli_moce.commands.mixture import open_mixture
    from sslcli_moce.commands.voting import Poll, open_encoder, open_tasks

    refuse_taken(output, again=again)
    tasks = open_tasks(specs, limit, talk)
    mixture = open_mixture(run, clusters, note=talk)
    elected: list[Elected] = []
    if tasks:
        how = {"processes": processes, "cache": cache, "broken_limit": broken_limit, "note": talk}
        poll = Poll(mixture, Trial.of(open_encoder(mixture, talk), **how), vote.value, seed)
        elected = [poll.elect(task) for task in tasks]
    report = extract(mixture, elected, output, every=every, again=again) | {"vote": vote.value, "seed": seed}
    print_json(report) if json else show(report)


def extract(
    mixture: "Mixture", elected: "Sequence[Elected]", output: Path, *, every: bool, again: bool
) -> dict[str, Any]:
    """Write everything into a folder; the report. Raises RunError when a backbone is not what the mixture is."""
    from sslcli_moce.commands import choices
    from sslcli_moce.commands.handing import hand_over
    from sslcli_moce.extraction import layers_of

    blocks = list(layers_of(mixture.backbone))
    report: dict[str, Any] = {
        "run": mixture.run,
        "judged": mixture.said,
        "clusters": str(mixture.folder),
        "output": str(output),
        "tasks": [],
        "experts": [],
    }
    alone = len(elected) == 1 and not every
    with choices.filled(output, again=again) as folder:
        for one in elected:
            name = "." if alone else one.task.name
            handed = hand_over(mixture, one.choice.cluster, folder / name, one.task.source, talk)
            document = choices.document_of(one, handed, blocks, name)
            choices.write_json(folder / name / choices.CHOICE, document | {"run": mixture.run})
            report["tasks"].append(document)
        for name, cluster, pictures in every_path(mixture, [one.task for one in elected]) if every else ():
            handed = hand_over(mixture, cluster, folder / name, None, talk)
            document = choices.expert_document(handed, blocks, pictures, name)
            choices.write_json(folder / name / choices.CHOICE, document | {"run": mixture.run})
            report["experts"].append(document)
        choices.write_json(folder / choices.CHOICES, report)
        choices.write_table(folder / choices.TABLE, report)
    return report


def every_path(mixture: "Mixture", tasks: "Sequence[Task]") -> Iterator[tuple[str, int, int]]:
    """A folder's name, the cluster with most training pictures, and these pictures, for every path that has some."""
    from sslcli_moce.commands.voting import unique
    from sslcli_moce.extraction import paths_of
    from sslcli_moce.selection import Ballot, named

    ballot = Ballot(mixture.clusters.sizes, paths_of(mixture.backbone))
    names = unique([f"experts-{named(path)}" for path in ballot.by_path], [task.name for task in tasks])
    for name, (path, pictures) in zip(names, ballot.by_path.items()):
        yield name, next(cluster for cluster in ballot.by_cluster if ballot.paths[cluster] == path), pictures


def show(report: Mapping[str, Any]) -> None:
    """The report for a person."""
    from sslcli_moce.commands.choices import EXPERT_HEADS, TASK_HEADS, expert_row, task_row

    for task in report["tasks"]:
        show_task(task, Path(report["output"]))
        print()
    if len(report["tasks"]) > 1:
        table(map(task_row, report["tasks"]), TASK_HEADS)
        print()
    if report["experts"]:
        table(map(expert_row, report["experts"]), EXPERT_HEADS)
        print(f"\n{'backbones':<9} in {report['output']}")


def show_task(task: Mapping[str, Any], output: Path) -> None:
    """What a task voted for, what was chosen and how sure that is."""
    where = ", ".join(f"{expert} in block {block}" for block, expert in zip(task["blocks"], task["experts"]))
    facts = {
        "task": f"{task['task']}: {task['pictures']} pictures of {task['data']}",
        "experts": f"{where}; gates {', '.join(f'{gate:.3f}' for gate in task['gates'])} of cluster {task['cluster']}",
        "how sure": sureness(task),
        "backbone": f"{output / task['folder']}: differs by at most {task['difference']:.1e} from the mixture",
    }
    for name, fact in facts.items():
        print(f"{name:<9} {fact}")
    for doubt in task["doubts"]:
        print(f"{'doubt':<9} {doubt}")
    print()
    show_votes(task["votes"], task["pictures"])


def show_votes(votes: Mapping[str, Any], pictures: int) -> None:
    """Votes by cluster, by path through the experts, and by expert in every block; the most first."""
    clusters = [((vote["cluster"], path_of(vote)), vote["pictures"]) for vote in votes["clusters"]]
    table(counted(clusters, pictures), ("cluster", "experts", "pictures", "share"))
    print()
    paths = [((path_of(vote),), vote["pictures"]) for vote in votes["paths"]]
    table(counted(paths, pictures), ("experts", "pictures", "share"))
    print()
    layers = [(layer["block"], shares_of(layer["experts"], pictures)) for layer in votes["layers"]]
    table(layers, ("block", "share of each expert"))


def counted(votes: Sequence[tuple[tuple[object, ...], int]], pictures: int) -> list[tuple[object, ...]]:
    """Lines of a table, of what has most votes and of all others together: pictures, and their share."""
    first, others = list(votes[:SHOWN]), votes[SHOWN:]
    if others:
        _, *more = others[0][0]
        first.append((("others", *("" for _ in more)), sum(count for _, count in others)))
    return [(*words, count, f"{count / pictures:.1%}") for words, count in first]


def shares_of(experts: Sequence[Mapping[str, Any]], pictures: int) -> str:
    """`3: 61.2%, 5: 20.1%`."""
    return ", ".join(f"{vote['expert']}: {vote['pictures'] / pictures:.1%}" for vote in experts)


def sureness(task: Mapping[str, Any]) -> str:
    """`61.2% of the pictures, 38.0% more than the next, ...`."""
    second = f", {task['margin']:+.1%} against {path_of({'experts': task['second']})}" if task["second"] else ""
    return (
        f"{task['share']:.1%} of the pictures{second}; the same in {task['stability']:.1%} of resamples; "
        f"mean gate {task['gate']:.2f}"
    )


def path_of(vote: Mapping[str, Any]) -> str:
    """`3-5`: the experts from the first layer to the last."""
    return "-".join(map(str, vote["experts"]))
