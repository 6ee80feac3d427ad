"""`sslcli import`: weights that other code released become a run."""

from pathlib import Path
from typing import Annotated

import typer

from sslcli.cli.arguments import AsJson, PluginFiles
from sslcli.cli.output import print_json, talk


def import_(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An importer, such as mugs; see 'sslcli plugins list'.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The released file: .pth, .pt or .safetensors.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="RUN", help="The run's folder (default: runs/<name>).")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the importer; repeatable.")
    ] = None,
    plugin_files: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """Make a run of weights that other code released.

    The run has a recipe, a backbone and a note of where it came from. It is judged like any other, and a recipe starts
    from it by init. Nothing in the file is executed. The last line on stdout is the run's folder.

    \b
    sslcli import mugs vit_small_backbone_800ep.pth -o runs/mugs
    sslcli import mugs vit_large_250ep.pth -o runs/student --set network=student
    sslcli eval knn runs/mugs --data ./labelled
    sslcli pretrain runs/mugs/recipe.toml --data ./pictures --set init=runs/mugs
    sslcli plugins show mugs
    """
    from sslcli.plugins import load_registry
    from sslcli.recipe.flags import options_from_flags

    offer = load_registry(plugin_files or ()).find("importer", name)
    options = options_from_flags(offer, overrides or [])
    from sslcli.training.importing import import_run  # brings torch: a wrong name or option is told before

    run = import_run(offer, options, file, folder=output, plugin_files=plugin_files or ())
    talk(run.said)
    if json:
        facts = {"recipe": run.recipe, "epoch": run.epoch, "tensors": run.tensors, "said": run.said}
        print_json({"run": str(run.folder), "importer": name, "file": str(file), **facts})
    else:
        print(run.folder)
