"""Printing data."""

import io
import json
from pathlib import Path

import pytest

from sslcli.cli.output import coloured, print_json, table, talk

Capture = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_and_nothing_trails(capsys: Capture) -> None:
    table([("a", 1), ("[loss]", "long " * 40)], ("name", "value"))
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["name    value", "a       1"]
    assert said[2] == f"[loss]  {'long ' * 40}".rstrip()


def test_a_table_without_rows_is_its_headers(capsys: Capture) -> None:
    table([], ("name", "value"))
    assert capsys.readouterr().out == "name  value\n"


def test_json_is_one_object_that_can_be_read_back(capsys: Capture) -> None:
    print_json({"path": Path("a"), "text": "größer"})
    assert json.loads(capsys.readouterr().out) == {"path": "a", "text": "größer"}


def test_talk_goes_to_stderr(capsys: Capture) -> None:
    talk("hello")
    assert capsys.readouterr() == ("", "hello\n")


def test_colour_is_for_terminals_of_users_who_have_not_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert coloured(Terminal())
    assert not coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())
