"""What tests share: packages that exist for one test, a registry that forgets between tests, one process and two."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslcli import plugins

Install = Callable[..., Path]


@pytest.fixture
def fresh_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No plugin is remembered from before, or after; modules of `tmp_path` and its place in sys.path are forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("SSLCLI_BLOCK", "SSLCLI_TRACE"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def forget() -> None:
    """Empty the caches of the registry."""
    plugins._load.cache_clear()
    plugins.load_installed.cache_clear()


@pytest.fixture
def install(tmp_path: Path, fresh_registry: None) -> Install:
    """`install("sslcli_test_a", source)`: a package of one module with an entry point, as pip would leave it."""
    site = tmp_path / "site"
    sys.path.insert(0, str(site))

    def write(module: str, source: str, *, name: str = "", version: str = "1.0") -> Path:
        site.mkdir(exist_ok=True)
        (site / f"{module}.py").write_text(source)
        information = site / f"{module}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: {version}\n")
        (information / "entry_points.txt").write_text(f"[sslcli]\n{name or module} = {module}\n")
        return site / f"{module}.py"

    return write


RunRanks = Callable[[Path, Path], tuple[dict[str, Tensor], dict[str, Tensor]]]


@pytest.fixture(scope="session")
def run_ranks() -> RunRanks:
    """`run_ranks(script, folder)`: what `script RANK WORLD FOLDER` saves as `WORLD.pt`, alone and as two processes."""

    def run(script: Path, folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        parts = [(rank, world) for world in (1, 2) for rank in range(world)]
        commands = [[sys.executable, str(script), str(rank), str(world), str(folder)] for rank, world in parts]
        started = [
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for command in commands
        ]
        try:
            for process in reversed(started):
                _, complaint = process.communicate(timeout=120)
                assert process.returncode == 0, complaint
        finally:
            for process in started:
                process.kill()  # one that waits for another that failed
        return torch.load(folder / "1.pt"), torch.load(folder / "2.pt")

    return run
