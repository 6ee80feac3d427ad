"""What is said of a recipe with mistakes."""

from collections.abc import Callable

import pytest

from sslcli.recipe import load_recipe
from sslcli.recipe.mistakes import RecipeError

Edit = Callable[[str, str], str]
Write = Callable[..., str]


def told(reference: str, *flags: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        load_recipe(reference, flags)
    return caught.value


def test_an_unknown_option_is_told_with_file_line_and_a_near_name(edit: Edit) -> None:
    error = told(edit("width = 32", "width = 32\npatch_sise = 8"))
    assert error.message == "recipe.toml:11: backbone.patch_sise unknown option"
    assert error.hint == "did you mean 'patch_size'?"


def test_all_mistakes_are_told_at_once_in_file_order(write: Write) -> None:
    text = '[train]\nepochs = "5"\nbatch_size = 0\n[optimiser]\n[data]\nlabels = true\n'
    error = told(write(text))
    lines = [mistake.line for mistake in error.mistakes if mistake.line]
    assert lines == [2, 3, 4, 5, 6]
    assert error.message.startswith(f"{len(error.mistakes)} mistakes in the recipe\n")
    assert "\nrecipe.toml:6: data.labels unknown option\n  hint: known: " in error.message


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("width = 32", 'width = "wide"', 10, "backbone.width must be a whole number, not a string"),
        ("width = 32", "width = 1.5", 10, "backbone.width must be a whole number, not 1.5"),
        ("width = 32", "width = true", 10, "backbone.width must be a whole number, not true"),
        ("width = 32", "width = 0", 10, "backbone.width must be at least 1, not 0"),
        ("width = 32", "drop = 1.5", 10, "backbone.drop must be at most 1, not 1.5"),
        ("lr = 1e-3", "lr = 0", 25, "optimizer.lr must be more than 0, not 0"),
        ("lr = 1e-3", "lr = inf", 25, "optimizer.lr must be a finite number"),
        ("lr = 1e-3", "lr = [1]", 25, "optimizer.lr must be a number, not an array"),
        ("lr = 1e-3", "lr = 1\nbetas = [0.9]", 26, "optimizer.betas has too few values"),
        ("lr = 1e-3", "nesterov = true", 24, "optimizer.lr is missing"),
        ('train = "demo"', "train = 5", 6, "data.train must be a string, not 5"),
        ('train = "demo"', 'train = "a"\ncache = "yes"', 7, "data.cache must be true or false, not a string"),
        ('train = "demo"', 'train = "a"\nbroken = "skp"', 7, "data.broken must be 'skip' or 'stop', not 'skp'"),
        ('train = "demo"', "train = ''\nworkers = 'a'", 7, "data.workers must be a whole number or 'auto', not 'a'"),
        ('train = "demo"', 'train = "a"\nworkers = -1', 7, "data.workers must be at least 0, not -1"),
        ("weight = 1.0", 'temperature = "x"', 19, "loss.0.temperature must be a number or a table, not a string"),
        ("weight = 1.0", "temperature = {start = 1}", 19, "loss.0.temperature.end is missing"),
        ("weight = 1.0", "hard = true\nratio = 0", 17, "loss.0 needs a ratio above 0 when it is hard"),
        ('name = "toy"', 'name = "tooy"', 18, "loss.0.name no loss is called 'tooy'"),
        ('name = "toy"\n', "", 17, "loss.0.name is missing"),
        ('name = "toy"', "name = 3", 18, "loss.0.name must be a string, the name of a plugin"),
        ("size = 32", "", 12, "views.global.size is missing"),
        ("schema = 1", "schema = 2", 2, "schema must be 1, which is what sslcli 0.1.0 reads, not 2"),
        ("schema = 1", 'name = "a/b"', 2, "name must be fit for a folder's name"),
        ("schema = 1", "init = 3", 2, "init must be a string"),
        ("[data]", "[[probes]]\na = 1\n[data]", 5, "probes unknown table"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_in_plain_words(edit: Edit, old: str, new: str, line: int, message: str) -> None:
    assert told(edit(old, new)).message == f"recipe.toml:{line}: {message}"


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("width = 32", 'width = "64"', "write 64, without quotes"),
        ('train = "demo"', 'train = "a"\ncache = "True"', "write true, without quotes"),
        ('train = "demo"', "train = 5", 'write "5", within quotes'),
        ('train = "demo"', 'train = "a"\nbroken = "skp"', "did you mean 'skip'?"),
        ("lr = 1e-3", 'lr = 1\nfreeze = [{parametrs = [], parameters = ["x"]}]', "did you mean 'parameters'?"),
    ],
)
def test_a_hint_says_how_to_write_it(edit: Edit, old: str, new: str, hint: str) -> None:
    assert told(edit(old, new)).hint == hint


def test_tables_of_the_wrong_shape_are_told(edit: Edit) -> None:
    assert (
        told(edit('[[loss]]\nname = "toy"\nweight = 1.0\n\n[[loss]]', "[loss]")).hint
        == "write [[loss]], with two brackets"
    )
    assert "data must be a table" in told("base.toml", "data=demo").message


def test_an_empty_recipe_is_told_everything_that_is_missing(write: Write) -> None:
    paths = [mistake.path for mistake in told(write("")).mistakes]
    assert paths == [
        *("data.train", "optimizer.lr", "train.epochs", "train.batch_size"),
        *("backbone", "views", "loss"),
    ]


def test_a_plugin_file_that_is_not_there_is_told_at_its_line(write: Write) -> None:
    error = told(write('extends = "base.toml"\nplugins = [\n  "gone.py",\n]'))
    assert (error.mistakes[0].line, error.mistakes[0].path) == (2, "plugins.0")


def test_a_recipe_of_a_newer_schema_is_told_that_and_nothing_else(edit: Edit) -> None:
    assert len(told(edit("schema = 1", "schema = 7\nfoo = 1")).mistakes) == 1
