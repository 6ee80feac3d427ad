"""Where a run's recipe says that its files are, whoever stands where."""

import os

import pytest

from sslcli.cli import run
from sslcli.recipe import load_recipe
from sslcli.training.runs import absolute_init

PLUGIN = '''
from torch import nn
from sslcli.api import Loss, LossOptions, Place, hookimpl


class Options(LossOptions):
    """A loss that reads a file."""

    table: Place = "table.txt"


@hookimpl
def sslcli_losses():
    yield Loss("test_filed", Options, "test_filed:Term", summary="reads a file")


class Term(nn.Module):
    """Nothing much."""

    def __init__(self, options, context):
        super().__init__()
        open(options.table).close()

    def forward(self, step):
        return step.student("global").pooled.square().mean()
'''


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to stand in, with the file."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "table.txt").write_text("")
    monkeypatch.chdir(folder)
    return folder


def test_a_file_that_a_plugin_names_is_kept_by_its_absolute_path(tiny_recipe, elsewhere, tmp_path, fresh_registry):
    (tmp_path / "test_filed.py").write_text(PLUGIN)
    recipe = tiny_recipe(loss=[{"name": "test_filed"}], plugins=[str(tmp_path / "test_filed.py")])
    assert run(["pretrain", str(recipe), "--output", str(tmp_path / "run"), "--quiet"]) == 0
    os.chdir(tmp_path)
    (loss,) = load_recipe(str(tmp_path / "run" / "recipe.toml")).losses
    assert loss.options.table == str(elsewhere / "table.txt")
    assert run(["pretrain", "--resume", str(tmp_path / "run")]) == 0


def test_where_a_run_begins_is_kept_by_its_absolute_path(elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere))
    assert absolute_init("table.txt") == absolute_init("~/table.txt") == str(elsewhere / "table.txt")
    assert absolute_init("table.txt#student") == f"{elsewhere / 'table.txt'}#student"
    assert absolute_init("timm:vit_tiny") == "timm:vit_tiny"
