"""The code of README.md and docs/*.md is run, in the order in which it stands, in a folder of its own for each page.

* `python` is executed; all blocks of a page share their names. With `# file: NAME` as its first line, it is written to
  that file instead.
* `toml` is parsed. With `# file: NAME`, it is written to that file too. With `schema = 1` or `extends` at its top, it
  is a recipe, and checked.
* `console`: lines that begin with `$ sslcli` (or `$ NAME=value sslcli`) are run by the shell and must end well; the
  rest is for the reader. A backslash at the end goes on in the next line.
* Any of them with `no-run` after it, and anything else, is for the reader.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<said>[^\n`]*)\n(?P<text>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# file: (?P<name>\S+)\n")
COMMAND = re.compile(r"^\$ (?P<line>(\w+=\S+ )*sslcli(?:[^\n\\]|\\\n|\\.)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the word after it, its text, and the line where it begins."""

    language: str
    flag: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The file that it wants to be, or nothing."""
        found = FILE.match(self.text)
        return found["name"] if found else ""


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    for found in FENCE.finditer(text):
        language, _, flag = found["said"].strip().partition(" ")
        yield Block(language, flag.strip(), found["text"], text[: found.start()].count("\n") + 1)


def commands(block: Block) -> Iterator[str]:
    """The command lines of a console block that are to be run."""
    yield from (found["line"].replace("\\\n", " ") for found in COMMAND.finditer(block.text))


def perform(block: Block, names: dict[str, Any], page: Path) -> None:
    """Do what a block asks for, in the current folder."""
    if block.flag == "no-run":
        return
    if block.file:
        Path(block.file).parent.mkdir(parents=True, exist_ok=True)
        Path(block.file).write_text(block.text)
    if block.language == "python" and not block.file:
        exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
    elif block.language == "toml":
        check_toml(block)
    elif block.language == "console":
        for line in commands(block):
            run_line(line)


def check_toml(block: Block) -> None:
    """TOML is TOML, and a recipe is a recipe."""
    document = tomllib.loads(block.text)
    if "schema" in document or "extends" in document:
        path = Path(block.file or f"recipe-of-line-{block.line}.toml")
        path.write_text(block.text)
        run_line(f"sslcli recipe check {path}")


def run_line(line: str) -> None:
    """Run a command line as a reader would; it must end with 0."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(line, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"$ {line}\n{done.stdout}{done.stderr}"


def shown(page: Path) -> str:
    """A page as a test names it."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_the_code_of_a_page_is_python_and_toml(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile("\n" * block.line + block.text, str(page), "exec")
        elif block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        perform(block, names, page)


@pytest.mark.slow
def test_the_test_of_the_page_about_plugins_passes(tmp_path: Path) -> None:
    for block in blocks(ROOT / "docs" / "plugins.md"):
        if block.file.endswith(".py"):
            (tmp_path / block.file).write_text(block.text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_twins.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_page_is_taken_apart_as_it_says(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n```python\nx = 1\n```\n```console no-run\n$ sslcli a\n```\n```toml\n# file: b.toml\n```\n")
    found = list(blocks(page))
    assert [(block.language, block.flag, block.line) for block in found] == [
        ("python", "", 2),
        ("console", "no-run", 5),
        ("toml", "", 8),
    ]
    assert found[2].file == "b.toml"
    assert list(commands(found[1])) == ["sslcli a"]


def test_what_is_for_the_reader_is_not_run(tmp_path: Path) -> None:
    perform(Block("python", "no-run", "1 / 0\n", 1), {}, tmp_path)
    perform(Block("console", "no-run", "$ sslcli plugins show x\n", 1), {}, tmp_path)


def test_commands_are_told_from_their_output() -> None:
    block = Block("console", "", "$ sslcli a \\\n  --b\nsslcli said\n$ X=1 sslcli c > d\n$ pip install e\n", 1)
    assert list(commands(block)) == ["sslcli a    --b", "X=1 sslcli c > d"]


def test_a_block_that_fails_fails_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        perform(Block("python", "", "1 / 0\n", 1), {}, tmp_path)
    with pytest.raises(AssertionError, match="no plugin offers 'x'"):
        perform(Block("console", "", "$ sslcli plugins show x\n", 1), {}, tmp_path)
