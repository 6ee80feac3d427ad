"""`sslcli moce cluster`: pictures into clusters of equal size, by the features of a trained backbone."""

import json as plain
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, talk
from sslcli.errors import UserError

MANIFEST, SHEET = "clusters.json", "sheet.png"  # as in sslcli_moce.clusters, which needs torch
WORK = ".rounds"  # how far the clustering has come, until it is finished
UNEVEN = 2.0  # times its share, that the largest cluster may have before a warning


class Pooling(StrEnum):
    """How tokens become one vector."""

    AUTO = "auto"
    CLS = "cls"
    MEAN = "mean"


def cluster(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A trained backbone: a run, a checkpoint, weights or timm:NAME.")
    ],
    data: Annotated[
        str, typer.Option(metavar="SPEC", help="Pictures: a folder, parquet:GLOB, hf:NAME, demo …, @split.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CLUSTERS", help="The folder of the clusters.")],
    clusters: Annotated[int, typer.Option(min=1, help="How many clusters.")] = 256,
    pool: Annotated[
        Pooling, typer.Option(help="One vector of the tokens; a backbone without tokens pools as it does.")
    ] = Pooling.MEAN,
    epsilon: Annotated[float, typer.Option(help="How soft the assignment is at first, in units of cosine.")] = 0.05,
    decided: Annotated[
        float,
        typer.Option(
            min=0, max=0.99, help="Epsilon is halved until so much of a picture is in one cluster; 0: it stays."
        ),
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the first centroids.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that extract features, one a GPU.")] = 1,
    sheet: Annotated[bool, typer.Option("--sheet/--no-sheet", help="Draw CLUSTERS/sheet.png, to be looked at.")] = True,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features, and use kept ones.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Replace what was made of other pictures or otherwise.")] = (
        False
    ),
    broken_limit: Annotated[
        float, typer.Option(min=0, max=1, help="The share of pictures that may be unreadable.")
    ] = 0.01,
    json: AsJson = False,
) -> None:
    """Find clusters of equal size among pictures.

    A mixture of experts learns from them, each expert from clusters that are alike. CLUSTERS holds the centroids, the
    cluster of every picture, the backbone for pictures to come, and a contact sheet. Ctrl-C loses nothing: the same
    command goes on.

    \b
    sslcli moce cluster runs/mae --data ./pictures -o clusters
    sslcli moce cluster timm:vit_base_patch16_224.mae --data ./pictures --clusters 64 -o clusters-64
    sslcli pretrain moce/tiny --data ./pictures --set routing.clusters=clusters --set init=runs/mae
    """
    if not epsilon > 0:
        raise UserError(f"--epsilon {epsilon:g} is not above 0", "0.05 is the usual one")
    refuse_other_folder(output)
    from sslcli.data.sources import open_source
    from sslcli_moce.clustering import Asked
    from sslcli_moce.commands.dense import open_dense
    from sslcli_moce.commands.making import Making, enough, is_finished

    source = open_source(data)
    talk(source.said)
    enough(len(source), clusters, data)
    making = Making(
        open_dense(run, pool.value),
        source,
        output,
        Asked(clusters, epsilon, decided, seed=seed),
        processes,
        broken_limit,
        cache,
    )
    if not again and is_finished(output, making.facts):
        talk(f"{output} holds these clusters already")
    else:
        making.make(sheet=sheet)
    tell(output, json=json)


def refuse_other_folder(output: Path) -> None:
    """A folder with something of the user's own in it stays as it is."""
    if output.is_file() or output.suffix.lower() == ".png":
        raise UserError(f"{output} cannot be the folder of the clusters", "such as '-o clusters'")
    known = any((output / name).exists() for name in (MANIFEST, WORK))
    if output.is_dir() and not known and any(output.iterdir()):
        raise UserError(f"{output} is not empty, and nothing says that it holds clusters", "name another folder")


def tell(output: Path, *, json: bool) -> None:
    """What the folder holds; warnings where the clusters are uneven."""
    facts = plain.loads((output / MANIFEST).read_text(encoding="utf-8"))
    sizes = sorted(facts["sizes"])
    sheet = output / SHEET if (output / SHEET).is_file() else None
    warn(facts, sizes)
    if json:
        print_json({"output": str(output), **facts, "sheet": sheet})
        return
    shown = {
        "clusters": f"{len(sizes)} in {output}",
        "pictures": f"{sum(sizes)} of {facts['pictures']} of {facts['data']}",
        "features": f"{facts['run']}, pool {facts['pool']}",
        "sizes": f"{sizes[0]} to {sizes[-1]}, median {sizes[len(sizes) // 2]}",
        "balance": f"{facts['balance']:.1e} at epsilon {facts['epsilon']:g}",
        "rounds": f"{facts['rounds']} in {facts['seconds']:.1f} s",
        "sheet": sheet,
    }
    for name, fact in shown.items():
        if fact is not None:
            print(f"{name:<9} {fact}")


def warn(facts: Mapping[str, Any], sizes: Sequence[int]) -> None:
    """Where clusters are not what was asked for, and what may help."""
    if facts["balance"] > facts["tolerance"]:
        talk(
            f"warning: the clusters could not be balanced to {facts['tolerance']:g}: the worst is off by "
            f"{facts['balance']:.2g} of its share\nhint: ask for fewer clusters, or for a larger --epsilon"
        )
    share = sum(sizes) / len(sizes)
    if sizes[-1] > UNEVEN * share or sizes[0] < share / UNEVEN:
        talk(
            f"warning: clusters have {sizes[0]} to {sizes[-1]} pictures where {share:.0f} were meant: many pictures "
            "are between clusters\nhint: ask for fewer clusters, or for a larger --decided; are there equal pictures?"
        )
