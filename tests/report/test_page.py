"""The page: whole in itself, escaped, light and dark, for any state of a run."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sslcli.errors import UserError
from sslcli.report.page import Content, content_of, render, write

Make = Callable[..., Path]
Kept = Callable[..., dict[str, Any]]
VOID = {"meta", "img", "br", "wbr", "link", "input", "hr"}


class Reader(HTMLParser):
    """The tags of a page with their attributes, and its text; a tag that is not closed is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(run: Path, **more: Any) -> Reader:
    """The page of a run, read."""
    return Reader(render(content_of(str(run), **more)))


@pytest.fixture
def whole(make_run: Make, kept: Kept) -> Path:
    """A finished run with metrics, an evaluation, and a curve that can be drawn."""
    lines = [{"step": 10 * n, "epoch": n, "loss": 1 / n, "mae/pixel_error": 2 / n} for n in (1, 2, 3, 4)]
    session = {
        "started": "2026-01-01T00:00:00+00:00",
        "versions": {"torch": "2.9"},
        "command": ["x", "pretrain", "a b"],
    }
    environment = {"sessions": [session], "plugins": [{"name": "mae", "package": "sslcli", "version": "0.1"}]}
    return make_run(
        "whole", lines=lines, evaluations=[kept(0.25)], card={"step": 40, "epoch": 4.0}, environment=environment
    )


def test_nothing_is_loaded_from_anywhere_and_nothing_runs(whole: Path) -> None:
    page = page_of(whole, wanted=["curves"])
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "video", "form"} == set()
    assert not [a for _, a in page.tags if any(name.startswith("on") or name in ("srcset", "background") for name in a)]
    assert all((image["src"] or "").startswith("data:image/") for image in page.all("img"))
    links = [link["href"] or "" for link in page.all("a")]
    assert links
    assert all(link.startswith("https://arxiv.org/abs/") for link in links)
    assert "url(" not in page.text
    assert "@import" not in page.text
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert (policy or "").startswith("default-src 'none'")


def test_images_have_words_and_figures_have_captions(whole: Path) -> None:
    page = page_of(whole, wanted=["curves"])
    assert len(page.all("img")) == len(page.all("figcaption")) == 1
    assert all(len(image["alt"] or "") > 20 for image in page.all("img"))
    assert "Figure 1." in page.text
    assert f"sslcli show curves {whole} -o curves.svg" in page.text


def test_the_page_is_for_phones_and_for_dark_rooms(whole: Path) -> None:
    page = page_of(whole, figures=False)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert "prefers-color-scheme: dark" in page.text
    assert len(page.all("table")) == len([a for a in page.all("div") if a.get("class") == "box"]) == 2


def test_it_says_how_the_run_was_judged_trained_and_made(whole: Path) -> None:
    text = page_of(whole, figures=False).text
    assert "A vit backbone, trained without labels by mae on demo; finished: 40 steps, 4 epochs." in text
    for words in (
        "25.0%",
        "(0.0 to 100.0%)",
        "sslcli eval knn runs/first --k 20",
        "mae/pixel_error",
        "mask_ratio = 0.75",
    ):
        assert words in text
    assert f'timm.create_model("local-dir:{whole}", pretrained=True)' in text
    assert "sslcli pretrain 'a b'" in text
    assert "peak rate0.002" in "".join(text.split("\n"))


def test_users_words_are_escaped_everywhere(make_run: Make, kept: Kept) -> None:
    evil = "<script>alert(1)</script>"
    document = kept(0.5, protocol=evil, data=evil, command=evil, judged=evil, **{evil: evil})
    environment = {"imported": {"file": evil, evil: evil}, "sessions": [{"started": evil, "command": ["x", evil]}]}
    run = make_run("a", title=evil, lines=[{"step": 1, evil: 1.0}], evaluations=[document], environment=environment)
    page = page_of(run, figures=False)
    assert page.all("script") == []
    assert page.text.count(evil) > 8


@pytest.mark.parametrize("lost", ["metrics.jsonl", "environment.json", "evaluations/0.json", "config.json"])
def test_a_run_that_lost_a_file_still_has_its_page(whole: Path, lost: str) -> None:
    (whole / lost).unlink()
    assert "mae" in page_of(whole, figures=False).text


@pytest.mark.parametrize("file", ["metrics.jsonl", "environment.json", "evaluations/0.json", "recipe.toml"])
def test_a_run_with_a_broken_file_still_has_its_page(whole: Path, file: str) -> None:
    (whole / file).write_text('{"broken')
    page = page_of(whole, figures=False)
    assert "whole" in page.text
    assert str(whole) in page.text
    assert "How it was trained" in page.text


def test_a_run_on_its_way_says_so_and_how_to_go_on(make_run: Make) -> None:
    run = make_run("a", lines=[{"step": 10, "epoch": 1.0, "loss": 1.0}, '{"step": 2'])
    text = page_of(run, figures=False).text
    assert "not finished: 1 of 4 epochs were noted, and it has no checkpoint yet." in text
    assert f"sslcli pretrain --resume {run}" in text
    assert f"sslcli eval knn {run}" in text
    assert "1 line of metrics.jsonl could not be read" in text


def test_what_cannot_be_drawn_is_told_at_the_end(make_run: Make) -> None:
    run = make_run("a", lines=[{"step": 10, "epoch": 1.0, "loss": 1.0}])
    text = page_of(run, wanted=["pca", "curves"]).text
    assert text.index("Figure 1.") < text.index("What could not be drawn") < text.rindex("pca")


def test_what_is_no_run_has_a_page_of_figures() -> None:
    text = Reader(render(content_of("pixels", figures=False))).text
    assert "Report of a backbone" in text
    assert "the pixels at 32 x 32." in text
    assert "How it was trained" not in text


def test_a_page_of_nothing_but_a_name_can_be_written() -> None:
    assert "only" in Reader(render(Content(run="only", name="only", said="a name"))).text


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write("", tmp_path / "file" / "report.html")
