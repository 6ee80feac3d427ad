"""`sslcli eval knn`: judge a backbone on labelled pictures."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from sslcli.cli.output import print_json, table, talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.evaluation.judging import KnnReport

app = typer.Typer(no_args_is_help=True, help="Judge a backbone on labelled pictures.")


class Pooling(StrEnum):
    """How tokens become one vector."""

    AUTO = "auto"
    CLS = "cls"
    MEAN = "mean"


@app.callback()
def group() -> None:
    """Judge a backbone on labelled pictures."""


@app.command()
def knn(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run, a checkpoint, a backbone.safetensors, timm:NAME, random:RECIPE or pixels.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(metavar="SPEC", help="Labelled pictures with splits of their own (default: those of the run)."),
    ] = "",
    train: Annotated[str, typer.Option(metavar="SPEC", help="The pictures that vote; with --test.")] = "",
    test: Annotated[str, typer.Option(metavar="SPEC", help="The pictures that are judged; with --train.")] = "",
    k: Annotated[str, typer.Option(metavar="K,K…", help="Numbers of neighbours (default: 10,20,100).")] = "",
    temperature: Annotated[float, typer.Option(help="A neighbour's vote weighs exp(cosine / temperature).")] = 0.07,
    pool: Annotated[Pooling, typer.Option(help="One vector of the tokens; auto: as the recipe says.")] = Pooling.AUTO,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also judge the run's own random start and raw pixels.")
    ] = False,
    broken_limit: Annotated[
        float, typer.Option(min=0, max=1, help="The share of pictures that may be unreadable; they are left out.")
    ] = 0.01,
    processes: Annotated[int, typer.Option(min=1, help="Processes that extract features, one a GPU.")] = 1,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features, and use kept ones.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object; accuracies are shares.")] = False,
) -> None:
    """Judge a backbone by its nearest neighbours.

    Of each picture that is tested, the k nearest training pictures vote for their classes. No training is done.

    \b
    sslcli eval knn runs/quickstart --baselines
    sslcli eval knn runs/mine --data ./labelled --k 20 --json
    sslcli eval knn timm:vit_small_patch16_224.dino --train parquet:train.parquet --test parquet:test.parquet
    sslcli eval knn random:quickstart --data demo
    """
    ks = numbers(k) if k else None  # looked at before torch takes its seconds
    from sslcli.evaluation.judging import KnnOptions, Sets, judge_baselines, judge_knn

    options = KnnOptions(ks, temperature, pool.value, processes, cache, broken_limit)
    sets = Sets(data, train, test)
    report = judge_knn(run, sets, options, note=talk)
    others = judge_baselines(run, sets, options, note=talk) if baselines else []
    if json:
        print_json(report.document() | ({"baselines": [other.document() for other in others]} if others else {}))
    else:
        show(report, others)


def numbers(text: str) -> tuple[int, ...]:
    """`10,20,100` as whole numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--k {text}: not whole numbers with commas", "such as '--k 10,20,100'") from None


def show(report: "KnnReport", others: "Sequence[KnnReport]") -> None:
    """The report for a person: what was judged on what, then accuracies in per cent, beside those of the others."""
    facts = {
        "protocol": f"knn, votes weighted by exp(cosine / {report.temperature:g})",
        "run": f"{report.run}: {report.judged}",
        "data": report.data,
        "features": f"{report.train} + {report.test} x {report.width}, {report.classes} classes",
    }
    for name, fact in facts.items():
        print(f"{name:<9} {fact}")
    print()
    rows = [
        (one.run, result.k, f"{result.top1:.1%}", f"{result.top5:.1%}")
        for one in (report, *others)
        for result in one.results
    ]
    table(rows, ("run", "k", "top1", "top5"))
