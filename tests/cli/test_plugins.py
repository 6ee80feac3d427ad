"""`sslcli plugins`: what is printed, and the exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sslcli.cli import run

Install = Callable[..., Path]
Captured = pytest.CaptureFixture[str]

LOSS = '''
from sslcli.api import Loss, LossOptions, hookimpl


class Options(LossOptions):
    """How far."""

    reach: float = 2.0  # in pixels


@hookimpl
def sslcli_losses():
    yield Loss("far", Options, "my_far_loss:Far", summary="go far", paper="arXiv:0000.00000", needs=("masking",))


def Far(options, context):
    """A loss that is no module."""
    return None
'''


@pytest.fixture
def loss_file(tmp_path: Path, fresh_registry: None) -> Path:
    """A single-file plugin."""
    path = tmp_path / "my_far_loss.py"
    path.write_text(LOSS)
    return path


def said_as_json(capsys: Captured) -> dict[str, object]:
    """What the command printed, as data."""
    data: dict[str, object] = json.loads(capsys.readouterr().out)
    return data


def test_list_names_what_is_installed(fresh_registry: None, capsys: Captured) -> None:
    assert run(["plugins", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["kind", "name", "package", "version", "what", "it", "is"]
    assert any(line.split()[:3] == ["backbone", "vit", "sslcli"] for line in lines)


def test_list_shows_a_plugin_of_a_file(loss_file: Path, capsys: Captured) -> None:
    assert run(["plugins", "list", "--plugin", str(loss_file), "--json"]) == 0
    data = said_as_json(capsys)
    assert data["plugins"][-1]["offers"][0]["name"] == "far"  # type: ignore[index]


def test_list_shows_broken_and_blocked_plugins(
    install: Install, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    install("sslcli_test_bad", "import sslcli_nowhere", name="bad")
    monkeypatch.setenv("SSLCLI_BLOCK", "resnet")
    assert run(["plugins", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[1] for row in rows if row[0] == "(broken)"] == ["bad"]
    assert [row[1] for row in rows if row[0] == "(blocked)"] == ["resnet"]


def test_list_prints_only_json_on_stdout_when_a_plugin_is_broken(install: Install, capsys: Captured) -> None:
    install("sslcli_test_bad", "import sslcli_nowhere", name="bad")
    run(["plugins", "list", "--json"])
    assert said_as_json(capsys)["broken"] == [
        {
            "name": "bad",
            "package": "sslcli_test_bad",
            "reason": f"ModuleNotFoundError: No module named 'sslcli_nowhere' ({install_path(install)})",
        }
    ]


def install_path(install: Install) -> str:
    """Where the one line of the broken plugin is."""
    import sys

    return f"{sys.path[0]}/sslcli_test_bad.py:1"


def test_show_tells_options_with_defaults_and_what_they_are_for(loss_file: Path, capsys: Captured) -> None:
    assert run(["plugins", "show", "far", "--plugin", str(loss_file)]) == 0
    out = capsys.readouterr().out
    assert "loss far: go far\npaper: arXiv:0000.00000\nneeds: masking" in out
    assert ["reach", "2.0", "number", "in", "pixels"] in [line.split() for line in out.splitlines()]


def test_show_says_which_options_must_be_given(fresh_registry: None, capsys: Captured) -> None:
    run(["plugins", "show", "multicrop"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["size", "(required)"] in [row[:2] for row in rows]


def test_show_says_what_an_evaluation_reads(fresh_registry: None, capsys: Captured) -> None:
    run(["plugins", "show", "knn"])
    assert "needs: vectors\n" in capsys.readouterr().out
    run(["plugins", "show", "knn", "--json"])
    assert json.loads(capsys.readouterr().out)["offers"][0]["needs"] == ["vectors"]


def test_show_of_an_unknown_name_says_what_may_be_meant(fresh_registry: None, capsys: Captured) -> None:
    assert run(["plugins", "show", "simcrl"]) == 2
    assert capsys.readouterr().err == "error: no plugin offers 'simcrl'\nhint: did you mean 'simclr'?\n"


def test_new_prints_the_folder_and_tells_the_next_steps(tmp_path: Path, fresh_registry: None, capsys: Captured) -> None:
    assert run(["plugins", "new", "my-term", "--kind", "loss", "-o", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'sslcli-my-term'}\n"
    assert "sslcli plugins check my_term" in said.err
    assert (tmp_path / "sslcli-my-term" / "sslcli_my_term" / "loss.py").is_file()


def test_new_refuses_an_unknown_kind(tmp_path: Path, capsys: Captured) -> None:
    assert run(["plugins", "new", "term", "--kind", "losses", "-o", str(tmp_path)]) == 2
    assert "'losses' is not one of 'loss', 'augmentation'" in capsys.readouterr().err


def test_new_tells_of_a_folder_that_takes_nothing(tmp_path: Path, fresh_registry: None, capsys: Captured) -> None:
    (tmp_path / "file").touch()
    assert run(["plugins", "new", "my-term", "--kind", "loss", "-o", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.startswith(f"error: cannot write to {tmp_path / 'file'}: ")


def test_check_passes_a_built_in_plugin(fresh_registry: None, capsys: Captured) -> None:
    assert run(["plugins", "check", "simclr", "--no-train"]) == 0
    assert "passed   loss 'simclr'    gives a finite scalar" in capsys.readouterr().out


def test_check_says_what_is_wrong_and_ends_with_2(loss_file: Path, capsys: Captured) -> None:
    assert run(["plugins", "check", str(loss_file), "--no-train", "--json"]) == 2
    data = said_as_json(capsys)
    failed = [check for check in data["checks"] if check["outcome"] == "failed"]  # type: ignore[attr-defined]
    assert data["ok"] is False
    assert failed[0]["detail"] == "it is a NoneType, not a torch.nn.Module"


def test_check_of_a_broken_plugin_says_why(install: Install, capsys: Captured) -> None:
    install("sslcli_test_bad", "import sslcli_nowhere", name="bad")
    assert run(["plugins", "check", "bad"]) == 2
    assert "error: plugin 'bad' cannot be loaded: ModuleNotFoundError" in capsys.readouterr().err


def test_check_tells_which_plugin_it_is_at(
    fresh_registry: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sslcli.testing.checks.check_plugin", lambda name, **how: [])
    assert run(["plugins", "check"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("checking ")
    assert lines[-1].endswith(f"({len(lines)} of {len(lines)})")
