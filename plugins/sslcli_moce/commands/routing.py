"""`sslcli moce routing`: which experts each cluster is sent to, how much each has to do, and how sure the gates are."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli_moce.diagnosis import Diagnosis


def routing(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A mixture of experts: a run, a checkpoint or weights.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.png", help="Also draw a map of the routing.")
    ] = None,
    clusters: Annotated[str, typer.Option(metavar="CLUSTERS", help="Where the run's clusters are now.")] = "",
    json: AsJson = False,
) -> None:
    """Tell how a mixture shares the training pictures out among its experts, and draw a map of it.

    For every block: the share of the pictures that each expert gets; the entropy of the gates, in the mean and of the
    mean gate, and their difference, the information of clusters about experts, all in nats; the imbalance, a squared
    coefficient of variation; and experts that get no picture at all.

    \b
    sslcli moce routing runs/moce
    sslcli moce routing runs/moce -o routing.png
    sslcli moce routing random:runs/moce --json
    """
    if output is not None and (output.suffix.lower() != ".png" or output.is_dir()):
        raise UserError(f"-o {output} is no PNG", "such as '-o routing.png'")
    from sslcli_moce.commands.mixture import open_mixture
    from sslcli_moce.diagnosis import diagnose, words

    mixture = open_mixture(run, clusters, note=talk)
    layers = diagnose(mixture.backbone)
    if output is not None:
        from sslcli.evaluation.drawings import Drawing
        from sslcli_moce.figures import routing_figure

        Drawing("Routing", routing_figure(layers)).save(output)
        talk(f"the map is in {output}")
    if json:
        print_json(document_of(mixture.run, mixture.said, mixture.folder, layers) | {"figure": output})
        return
    show(mixture.said, layers)
    for problem in words(layers):
        talk(f"warning: {problem}")


def document_of(run: str, said: str, clusters: Path, layers: "Mapping[int, Diagnosis]") -> dict[str, Any]:
    """The layers as plain data; `gates` are the probabilities of every cluster."""
    from sslcli_moce.diagnosis import words

    described = [
        {"block": block, **layer.document(), "gates": layer.probabilities.tolist()} for block, layer in layers.items()
    ]
    sizes = next(iter(layers.values())).sizes.tolist()
    head = {"run": run, "judged": said, "clusters": str(clusters), "sizes": sizes}
    return {**head, "layers": described, "problems": words(layers)}


def show(said: str, layers: "Mapping[int, Diagnosis]") -> None:
    """The layers for a person."""
    first = next(iter(layers.values()))
    print(f"{said}: {int(first.sizes.sum())} pictures in {len(first.sizes)} clusters\n")
    rows = [
        (
            block,
            f"{len(layer.load) - len(layer.dead)} of {len(layer.load)}",
            f"{layer.entropy:.3f}",
            f"{layer.entropy_of_mean:.3f}",
            f"{layer.information:.3f}",
            f"{layer.imbalance:.3f}",
        )
        for block, layer in layers.items()
    ]
    table(rows, ("block", "experts used", "entropy", "of the mean", "information", "imbalance"))
    print()
    most = max(len(layer.load) for layer in layers.values())
    shares = [
        (block, *(f"{share:.1%}" for share in (layer.load / layer.load.sum().clamp_min(1)).tolist()))
        for block, layer in layers.items()
    ]
    table(shares, ("block", *(f"expert {number}" for number in range(most))))
