"""What the tests of `segment` and `video` share: a cache of their own, and runs that are hardly trained."""

import pytest

from sslcli.cli import run


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Indexes and maps are kept in the folder of the test."""
    monkeypatch.setenv("SSLCLI_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def hardly_trained(tmp_path_factory):
    """`hardly_trained(pictures, backbone={"patch_size": 4})`: a run of a tiny ViT."""
    from sslcli.testing.recipes import tiny_document, write_recipe

    def make(pictures, **tables):
        folder = tmp_path_factory.mktemp("run")
        recipe = write_recipe(folder / "tiny.toml", tiny_document(pictures, **tables))
        assert run(["pretrain", str(recipe), "--output", str(folder / "run"), "--quiet"]) == 0
        return folder / "run"

    return make
