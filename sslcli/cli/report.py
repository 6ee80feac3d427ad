"""`sslcli report RUN`: what is known of a run, as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.offered import RUN
from sslcli.cli.output import print_json, talk
from sslcli.disk import expand
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.report.page import Content

FILE = "report.html"


def report(
    run: RUN,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Default: report.html in the run.")
    ] = None,
    data: Annotated[str, typer.Option(metavar="SPEC", help="Pictures for the figures (default: the run's own).")] = "",
    names: Annotated[
        str, typer.Option("--figures", metavar="A,B", help="Only these, of 'sslcli show' (default: all that fit).")
    ] = "",
    no_figures: Annotated[bool, typer.Option("--no-figures", help="Draw nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Write what is known of a run into one HTML file.

    How it was judged and trained, what it has learned in figures, its recipe, how to load it, what made it. The file is
    whole in itself: it loads nothing, and can be mailed or kept. It names folders and commands as they were typed. The
    last line on stdout is the file.

    \b
    sslcli report runs/quickstart
    sslcli report runs/mine --data ./labelled --figures curves,attention -o mine.html
    sslcli report timm:vit_small_patch16_224.dino --data ./photos -o dino.html
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if wanted and no_figures:
        raise UserError("--figures and --no-figures contradict each other", "leave out one of them")
    file = place(run, output)
    from sslcli.report import page

    content = page.content_of(run, data=data, wanted=wanted, figures=not no_figures, tell=talk)
    page.write(page.render(content), file)
    if json:
        print_json(document(content, file))
    else:
        print(file)


def place(run: str, output: Path | None) -> Path:
    """Where the page is written; beside anything but a run it must be said. Raises UserError."""
    folder = expand(run)
    if output is None and not (folder / "recipe.toml").is_file():
        if not (folder.exists() or ":" in run or run == "pixels"):
            from sslcli.evaluation.opening import not_found

            raise not_found(run, folder)
        raise UserError(f"{run} is no run, so the file must be named", "add -o FILE.html")
    file = output or folder / FILE
    if file.suffix.lower() not in (".html", ".htm"):
        ended = file.with_suffix(".html") if file.stem.strip(".") else file / FILE
        raise UserError(f"{file} does not end in .html", f"name it {ended}")
    return file


def document(content: "Content", file: Path) -> dict[str, Any]:
    """What the page holds, as plain data."""
    drawn = [
        {"figure": one.name, "title": one.title, "caption": one.caption, "seconds": round(one.seconds, 2)}
        for one in content.shown
    ]
    state = content.state
    reached = {"finished": state.finished, "step": state.step, "epoch": state.epoch} if state else {}
    return {
        "run": content.run,
        "file": str(file),
        "bytes": file.stat().st_size,
        "said": content.said,
        **reached,
        "evaluations": [one.protocol for one in content.judgements],
        "figures": drawn,
        "left_out": [{"figure": one.name, "reason": one.reason} for one in content.left_out],
    }
