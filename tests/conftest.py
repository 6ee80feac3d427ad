"""What tests of plugins share: packages that exist for one test, and a registry that forgets between tests."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
