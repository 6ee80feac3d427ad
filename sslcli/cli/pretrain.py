"""`sslcli pretrain`: train by a recipe, or go on with a run."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sslcli.cli.arguments import AsJson, Overrides, PluginFiles
from sslcli.cli.output import print_json
from sslcli.errors import UserError


def pretrain(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe: a TOML file, or a name such as quickstart or mae/tiny.")
    ] = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with this run instead.", metavar="RUN")] = None,
    data: Annotated[
        str | None, typer.Option(help="Pictures to train on: a folder, parquet:GLOB, hf:NAME, demo …")
    ] = None,
    overrides: Overrides = None,
    plugin_files: PluginFiles = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's folder (default: runs/<name>).")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes to start on this machine, one a GPU.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Build and check everything, train nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell only warnings.")] = False,
    json: AsJson = False,
) -> int:
    """Train a backbone by a recipe, or go on with a run.

    The last line on stdout is the run's folder. Ctrl-C or SIGTERM saves and stops; --resume goes on.

    \b
    sslcli pretrain quickstart
    sslcli pretrain mae/tiny --data ./pictures --set train.epochs=50 --output runs/mine
    sslcli pretrain --resume runs/mine
    """
    if resume is not None and output is not None:
        raise UserError("--output and --resume exclude each other", "a resumed run stays in its folder")
    chosen = load(recipe, resume, data, overrides or [], plugin_files or [])
    from sslcli.training.launch import (
        inside_a_launch,
        join_slurm,
        launch,
    )  # brings torch: a wrong recipe is told before
    from sslcli.training.runs import refuse_taken

    join_slurm(os.environ)
    if output is not None and not dry_run and not inside_a_launch():
        refuse_taken(output)  # before processes start, each of which would tell it
    if processes > 1 and not inside_a_launch():
        return launch(without_processes(sys.argv[1:]), processes)
    return work(chosen, resume=resume, output=output, dry_run=dry_run, quiet=quiet, json=json)


def load(recipe: str | None, resume: Path | None, data: str | None, overrides: list[str], plugins: list[Path]) -> Any:
    """The recipe to train by: the one named, or the one that the run was made by."""
    from sslcli.recipe import load_recipe

    if (recipe is None) == (resume is None):
        raise UserError("name either a recipe, or a run with --resume", "see 'sslcli recipe list' for recipes")
    if resume is not None and overrides:
        raise UserError(
            "--set does not go with --resume: a run goes on as it began",
            f"start a new run from its weights: sslcli pretrain RECIPE --set init={resume} --set …",
        )
    spec = [f"data.train={toml_string(data)}"] if data is not None else []
    reference = recipe if resume is None else recipe_of(resume)
    assert reference is not None
    return load_recipe(reference, [*spec, *overrides], plugin_files=plugins)


def recipe_of(run: Path) -> Path:
    """The recipe that a run was made by."""
    from sslcli.training.runs import RECIPE, existing

    return existing(run) / RECIPE


def toml_string(text: str) -> str:
    """Text as TOML writes it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def work(recipe: Any, *, resume: Path | None, output: Path | None, dry_run: bool, quiet: bool, json: bool) -> int:
    """Train in this process, and print where the run is."""
    from sslcli.cli.progress import reporter
    from sslcli.evaluation.probe import make_probe
    from sslcli.training.pretrain import pretrain as train
    from sslcli.training.pretrain import rehearse
    from sslcli.training.pretrain import resume as go_on

    report = reporter(quiet=quiet or not first_process())  # the others tell of warnings only
    try:
        if dry_run:
            return print_plan(rehearse(recipe, report=report, make_probe=make_probe), json=json)
        if resume is not None:
            folder = go_on(recipe, resume, report=report, make_probe=make_probe)
        else:
            folder = train(recipe, folder=output, report=report, make_probe=make_probe)
    finally:
        report.close()
    if json and first_process():
        print_json({"run": str(folder), "recipe": recipe.name, "last": report.last})
    elif first_process():
        print(folder)
    return 0


def first_process() -> bool:
    """Whether this process speaks for the others that a launcher started with it."""
    return os.environ.get("RANK", "0") == "0"


def print_plan(plan: dict[str, Any], *, json: bool) -> int:
    """What a run would be."""
    if json:
        print_json(plan)
    else:
        for name, value in plan.items():
            print(f"{name.replace('_', ' ')}: {value}")
    return 0


def without_processes(arguments: list[str]) -> list[str]:
    """The same command line for a child, which must not start children of its own."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == "--processes":
            skip = True
        elif not argument.startswith("--processes="):
            kept.append(argument)
    return kept
