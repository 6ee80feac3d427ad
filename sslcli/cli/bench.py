"""`sslcli bench`: how fast a recipe trains here, and where the time goes."""

from typing import Annotated

import typer

from sslcli.cli.arguments import AsJson, Overrides, PluginFiles, Reference
from sslcli.cli.output import print_json, table


def bench(
    recipe: Reference,
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure.")] = 20,
    warmup: Annotated[int, typer.Option(min=0, help="Steps before the measurement.")] = 3,
    overrides: Overrides = None,
    plugin_files: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """Measure how fast a recipe trains, and where the time goes. Nothing is written.

    \b
    sslcli bench quickstart
    sslcli bench mae/vit_base-imagenet-800ep --set data.train=./pictures --set train.batch_size=64 --json
    """
    from sslcli.recipe import load_recipe

    chosen = load_recipe(recipe, overrides or [], plugin_files=plugin_files or [])
    from sslcli.cli.progress import reporter
    from sslcli.training import bench as training  # brings torch: a wrong recipe is told before

    found = training.bench(chosen, steps=steps, warmup=warmup, report=reporter(quiet=json))
    if json:
        print_json(found)
        return
    print(f"{found['recipe']} on {found['device']}: {found['images_per_second']} images/s")
    print(f"{found['seconds_per_step']:.4f} s a step of {found['batch_size']} images")
    print(f"{found['peak_memory_mib']} MiB of memory at most\n")
    table([(stage, f"{100 * share:.1f} %") for stage, share in found["shares"].items()], ("stage", "share of time"))
