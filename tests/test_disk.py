"""Paths as they are typed, and what is whole or not there."""

import os
from pathlib import Path

import pytest

from sslcli.disk import expand, folder_beside, refuse_here
from sslcli.errors import UserError


def test_a_home_folder_is_put_in_the_place_of_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert expand("~/pictures") == Path("/somewhere/pictures")
    assert expand("pictures/~") == Path("pictures/~")


def test_a_user_that_is_not_there_is_told_of() -> None:
    with pytest.raises(UserError, match="there is no user 'nouser': ~nouser/x") as refused:
        expand("~nouser/x")
    assert refused.value.hint


@pytest.mark.parametrize("name", [".", "", "inner/..", "link"])
def test_the_folder_that_a_person_stands_in_is_not_replaced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is the folder you are in"):
        refuse_here(Path(name))
    refuse_here(tmp_path / "new")


def test_beside_the_folder_that_a_person_stands_in_there_is_room_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with folder_beside(Path(".")) as unfinished:
        assert unfinished.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_a_killed_process_of_the_same_number_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".new.{os.getpid()}").mkdir()
    (tmp_path / f".new.{os.getpid()}" / "half").touch()
    with folder_beside(tmp_path / "new") as unfinished:
        assert list(unfinished.iterdir()) == []
