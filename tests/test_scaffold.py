"""What `sslcli plugins new` writes: a package that installs, is found, is well, trains, and whose own test passes."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.errors import UserError
from sslcli.offers import KINDS
from sslcli.plugins import Registry, load_registry
from sslcli.scaffold import rendered, words_for, write_package
from sslcli.testing.checks import check_plugin

NAMES = {
    "loss": "test-align",
    "augmentation": "test-middle",
    "backbone": "test-mixer",
    "routing": "test_top_one",
    "importer": "test-weights",
    "evaluation": "test-means",
    "figure": "test-spectrum",
}
OF_RECIPES = ["loss", "augmentation", "backbone", "routing"]  # the kinds that a recipe names
EMPTY = Registry(())


@pytest.fixture
def found(tmp_path: Path, fresh_registry: None) -> Callable[[str], Path]:
    """`found("loss")`: a new package of this kind, put where Python finds it with its entry point."""

    def write(kind: str) -> Path:
        package = write_package(NAMES[kind], kind, tmp_path, EMPTY)
        project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
        ((name, module),) = project["entry-points"]["sslcli"].items()
        information = package / f"{module}-{project['version']}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
        (information / "entry_points.txt").write_text(f"[sslcli]\n{name} = {module}\n")
        sys.path.insert(0, str(package))
        return package

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_found_and_passes_every_check(found: Callable[[str], Path], kind: str) -> None:
    found(kind)
    results = check_plugin(NAMES[kind].replace("-", "_"), train=False)
    assert [result for result in results if result.outcome != "passed"] == []
    assert len(results) > 10


@pytest.mark.parametrize("kind", OF_RECIPES)
def test_the_recipe_of_a_new_package_is_right(found: Callable[[str], Path], kind: str) -> None:
    from sslcli.recipe import load_recipe

    assert load_recipe(found(kind) / "recipe.toml").name == NAMES[kind].replace("-", "_")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_formatted_and_typed(found: Callable[[str], Path], kind: str) -> None:
    package = found(kind)
    quality = ["ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,UP,B", str(package)]
    subprocess.run([sys.executable, "-m", *quality], check=True)
    subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=120", "--check", package], check=True
    )


def test_no_placeholder_is_left_in_a_new_package() -> None:
    for kind in KINDS:
        for path, text in rendered(kind, words_for("far-sight", kind)).items():
            assert "$" not in path
            assert "$" not in text.replace("$ ", ""), path


def test_words_fit_a_name_with_a_dash() -> None:
    words = words_for("far-sight", "loss")
    assert (words["package"], words["module"], words["name"]) == ("sslcli-far-sight", "sslcli_far_sight", "far_sight")
    assert words["Class"] == "FarSight"


@pytest.mark.parametrize("name", ["Align", "1st", "a b", "a--b", "-a", "a-", "../a", "", "ä"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a plugin"):
        write_package(name, "loss", tmp_path, EMPTY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mae", "moco-v3"])
def test_a_taken_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"there is a plugin called '{name}' already"):
        write_package(name, "loss", tmp_path, load_registry())


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sslcli-align"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is already there"):
        write_package("align", "loss", tmp_path, EMPTY)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_an_unknown_kind_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no kind of plugin called 'lose'"):
        write_package("align", "lose", tmp_path, EMPTY)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`other_python("-m", "pip", …)` in an environment of its own that sees what is installed here; what it prints."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SSLCLI"))}

    def run(*arguments: object, cwd: Path = folder) -> str:
        command = [str(folder / "bin" / "python"), *map(str, arguments)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_installs_is_found_trains_and_passes_its_own_test(
    kind: str, tmp_path: Path, picture_folder: Path, other_python: Callable[..., str]
) -> None:
    name = NAMES[kind].replace("-", "_")
    other_python("-m", "sslcli", "plugins", "new", NAMES[kind], "--kind", kind, "-o", tmp_path)
    package = tmp_path / words_for(NAMES[kind], kind)["package"]
    other_python("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", package)
    listed = json.loads(other_python("-m", "sslcli", "plugins", "list", "--json"))
    assert name in {plugin["name"] for plugin in listed["plugins"]}
    assert " passed" in other_python("-m", "pytest", "-q", "-p", "no:cacheprovider", package, cwd=tmp_path)
    if kind not in OF_RECIPES:
        assert not (package / "recipe.toml").exists()
        return
    small = ["--data", picture_folder, "--set", "train.epochs=1", "--set", "train.batch_size=8"]
    run = other_python("-m", "sslcli", "pretrain", package / "recipe.toml", *small, "-o", tmp_path / "run")
    assert (Path(run.strip()) / "backbone.safetensors").is_file()
    shutil.rmtree(package)
