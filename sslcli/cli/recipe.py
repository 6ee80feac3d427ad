"""`sslcli recipe list|show|check|new|schema`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sslcli.cli.arguments import AsJson, Overrides, PluginFiles, Reference
from sslcli.cli.output import print_json, table, talk
from sslcli.errors import DONE, USER_CAN_MEND, UserError

app = typer.Typer(no_args_is_help=True, help="List, show, check and begin recipes.")


@app.command("list")
def list_command(json: AsJson = False) -> None:
    """List the recipes that come with sslcli.

    \b
    sslcli recipe list
    sslcli recipe list --json
    """
    from sslcli.recipe import list_recipes

    recipes = list_recipes()
    if json:
        print_json({"recipes": [{"name": r.name, "summary": r.summary, "path": str(r.path)} for r in recipes]})
    else:
        table([(recipe.name, recipe.summary) for recipe in recipes], ("recipe", "what it is"))


@app.command()
def show(
    recipe: Reference, overrides: Overrides = None, plugin_files: PluginFiles = None, json: AsJson = False
) -> None:
    """Print a recipe with every default written out.

    What is printed is a recipe itself.

    \b
    sslcli recipe show mae/tiny
    sslcli recipe show mae/tiny --set loss.0.weight=0.5 > mine.toml
    """
    from sslcli.recipe import load_recipe, to_toml

    document = load_recipe(recipe, overrides or (), plugin_files=plugin_files or ()).document
    if json:
        print_json(document)
    else:
        print(to_toml(document), end="")


@app.command()
def check(
    recipe: Reference, overrides: Overrides = None, plugin_files: PluginFiles = None, json: AsJson = False
) -> int:
    """Say everything that is wrong with a recipe.

    Each mistake comes with its file and line, or with the flag that said it; the exit code is 2 when there is one.

    \b
    sslcli recipe check mine.toml
    sslcli recipe check mine.toml --set train.batch_size=512 --json
    """
    from sslcli.recipe import load_recipe

    try:
        checked = load_recipe(recipe, overrides or (), plugin_files=plugin_files or ())
    except UserError as error:
        if not json:
            raise
        print_json({"ok": False, "errors": mistakes_of(error)})
        return USER_CAN_MEND
    summary = summarise(checked)
    if json:
        print_json({"ok": True, **summary})
    else:
        print("ok")
        for key, value in summary.items():
            print(f"{key.replace('_', ' ')}: {in_words(value)}")
    return DONE


def in_words(value: Any) -> str:
    """A fact of the summary: names in a row, numbers without needless digits."""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def mistakes_of(error: UserError) -> list[dict[str, Any]]:
    """The mistakes of a recipe as plain data; one without a place when there is no recipe to be read."""
    from sslcli.recipe import RecipeError

    if isinstance(error, RecipeError):
        return error.as_data()
    return [{"file": None, "line": None, "path": "", "message": error.message, "hint": error.hint}]


def summarise(recipe: Any) -> dict[str, Any]:
    """What a recipe does, in a few words."""
    return {
        "name": recipe.name,
        "data": recipe.data.train,
        "backbone": recipe.backbone.name,
        "views": list(recipe.document["views"]),
        "losses": [loss.name for loss in recipe.losses],
        "epochs": recipe.train.epochs,
        "batch_size": recipe.train.batch_size,
    }


@app.command()
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The recipe to write; never overwritten.")],
    data: Annotated[str, typer.Option("--data", metavar="SPEC", help="Pictures: a folder, parquet:GLOB, demo …")],
    base: Annotated[str, typer.Option("--from", metavar="RECIPE", help="The recipe to begin with.")] = "quickstart",
    json: AsJson = False,
) -> None:
    """Write a first recipe for a folder of pictures.

    \b
    sslcli recipe new mine.toml --data ~/pictures
    sslcli recipe new mine.toml --data ~/pictures --from mae/tiny
    """
    from sslcli.recipe.starting import start_recipe

    recipe = start_recipe(file, data, base)
    if json:
        print_json({"recipe": str(file), "name": recipe.name, "extends": base})
    else:
        print(file)
        talk(f"next: sslcli pretrain {file}")


@app.command()
def schema(plugin_files: PluginFiles = None, json: AsJson = False) -> None:
    """Print the JSON Schema of recipes, for editors.

    It knows the installed plugins and their options. It is JSON always; --json changes nothing.

    \b
    sslcli recipe schema > recipe.schema.json
    then begin a recipe with the line: #:schema ./recipe.schema.json
    """
    from sslcli.plugins import load_registry
    from sslcli.recipe.schema import recipe_schema

    print_json(recipe_schema(load_registry(plugin_files or ())))
