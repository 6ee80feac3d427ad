"""Pytest fixtures for plugins: a folder of pictures, a recipe that trains in seconds, the program, a loss's step."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sslcli.nn import Step


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 tiny pictures in two class folders, the same every time; made once a session, so leave it as it is."""
    from sslcli.testing.pictures import write_pictures

    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def tiny_recipe(tmp_path: Path, picture_folder: Path) -> Callable[..., Path]:
    """`tiny_recipe(loss=[{"name": "align"}], train={"epochs": 4})`: the path of a recipe that trains in seconds.

    Tables are joined to a ViT of width 32 on two 16-pixel views of `picture_folder`; see
    `sslcli.testing.recipes.tiny_document`.
    """
    from sslcli.testing.recipes import tiny_document, write_recipe

    def write(**tables: Any) -> Path:
        return write_recipe(tmp_path / "tiny.toml", tiny_document(picture_folder, **tables))

    return write


@pytest.fixture
def run_sslcli(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """`run_sslcli("pretrain", recipe)`: the program in a process of its own, in `tmp_path`.

    The result has `returncode`, `stdout` and `stderr`.
    """

    def run(*arguments: object, timeout: float = 600) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sslcli", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture
def make_step() -> "Callable[..., Step]":
    """`make_step()`: a `Step` on random images of two 16-pixel crops, encoded by a tiny ViT.

    `make_step({"global": ViewShape(2, 16), "local": ViewShape(4, 16)}, seed=1)` for other views.
    """
    from sslcli.testing import steps

    return steps.make_step
