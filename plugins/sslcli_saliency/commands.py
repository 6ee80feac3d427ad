"""`sslcli saliency compute`: masks of pictures, without labels."""

import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, talk
from sslcli.cli.progress import Standing, duration
from sslcli.errors import Interrupted, UserError

if TYPE_CHECKING:
    from sslcli_saliency.computing import CoarseMaps, Outcome, Tally

app = typer.Typer(no_args_is_help=True, help="Find the objects of pictures, without labels.")
SHOWN = 24  # pictures on a contact sheet
MANY = 0.5  # the share of pictures without a mask of use above which something is wrong


class Method(StrEnum):
    """How masks are made."""

    CLASSICAL = "classical"
    ATTENTION = "attention"
    PCA = "pca"


@app.callback()
def group() -> None:
    """Find the objects of pictures, without labels."""


@app.command()
def compute(
    data: Annotated[
        str,
        typer.Argument(metavar="DATA", help="Pictures: a folder, parquet:GLOB, hf:NAME, demo …, @split."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="MASKS", help="The folder of the masks.")],
    method: Annotated[
        Method, typer.Option(help="Hand-made methods together, or the map of a backbone of your own.")
    ] = Method.CLASSICAL,
    backbone: Annotated[
        str, typer.Option(metavar="RUN", help="With attention and pca: a run, a checkpoint, timm:NAME …")
    ] = "",
    side: Annotated[int, typer.Option(min=16, help="Pixels, at most, of a mask's shorter side.")] = 256,
    superpixels: Annotated[int, typer.Option(min=20, help="How many pieces a picture is taken apart into.")] = 250,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="What of the map is object (default: each picture its own).")
    ] = None,
    dilation: Annotated[
        float, typer.Option(min=0, max=0.5, help="By which masks are widened, of their shorter side.")
    ] = 0.015,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes (default: one a core).")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Only so many pictures, evenly spread; 0: all.")] = 0,
    sheet: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Also a contact sheet of some pictures, to be looked at.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make all masks anew, in the place of those that are there.")
    ] = False,
    broken_limit: Annotated[
        float, typer.Option(min=0, max=1, help="The share of pictures that may be unreadable.")
    ] = 0.01,
    json: AsJson = False,
) -> None:
    """Write a mask of the object for every picture.

    Masks are PNGs of one bit a pixel, called as the pictures are; recipes name the folder by data.masks. Where no
    object is found the mask is white, and the picture stays whole. Ctrl-C loses nothing: the same command goes on.

    \b
    sslcli saliency compute ./pictures -o masks --limit 24 --sheet look.png
    sslcli saliency compute ./pictures -o masks
    sslcli saliency compute ./pictures -o masks-pca --method pca --backbone runs/mine
    sslcli pretrain relicv2/tiny --data ./pictures --set data.masks=masks
    """
    if (method is Method.CLASSICAL) == bool(backbone):
        raise UserError(
            f"--method {method.value} {'takes no' if backbone else 'needs a'} --backbone",
            "give both, such as '--method pca --backbone runs/mine', or neither",
        )
    if sheet is not None and (sheet.suffix.lower() != ".png" or sheet.is_dir()):
        raise UserError(f"--sheet {sheet} is no PNG", "such as '--sheet look.png'")
    refuse_without_parts()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each worker has one core; numpy is not loaded yet
    from sslcli.data.loader import available_cores
    from sslcli.data.sources import open_source
    from sslcli_saliency import computing
    from sslcli_saliency.estimation import Settings

    source, settings = open_source(data), Settings(side, superpixels, threshold, dilation)
    talk(source.said)
    coarse, said = coarse_maps(source, method, backbone)
    computing.claim(source, output, said, settings, again=again)
    count = available_cores() if workers is None else workers
    steps = computing.compute(source, output, settings, coarse=coarse, limit=limit, workers=count if count > 1 else 0)
    tally = follow(steps, output, broken_limit)
    if sheet is not None:
        draw_sheet(sheet, source, settings, coarse)
    tell(tally, output, sheet, json=json)


def refuse_without_parts() -> None:
    """What masks are made with is no part of a plain installation."""
    if find_spec("skimage") is None:
        raise UserError("making masks needs scikit-image, which is not installed", "pip install 'sslcli[saliency]'")


def coarse_maps(source: Any, method: Method, backbone: str) -> tuple["CoarseMaps | None", str]:
    """How coarse maps come from a backbone, None for hand-made ones; and the method in words."""
    if method is Method.CLASSICAL:
        return None, method.value
    from sslcli.evaluation.attention import MapEncoder, cls_attention, grid_of_square, principal_map
    from sslcli.evaluation.card import Card
    from sslcli.evaluation.features import extract
    from sslcli.evaluation.opening import open_subject
    from sslcli_saliency.whole import Squares

    subject = open_subject(backbone, note=talk)
    network = getattr(subject.encoder, "backbone", None)
    if network is None:
        raise UserError(f"{backbone} has no map of its pictures", "name a run, a checkpoint or timm:NAME")
    size = subject.card.image_size
    card = Card(size, 1.0, subject.card.mean, subject.card.std)
    encoder = MapEncoder(network, cls_attention if method is Method.ATTENTION else principal_map)
    squares = Squares(source, size)

    def maps(indices: Sequence[int]) -> Mapping[int, Any]:
        table = extract(encoder, squares, card, indices=indices)
        grid = grid_of_square(table.features.shape[1]) if len(table.features) else (0, 0)
        found = table.features.view(-1, *grid).numpy()
        return dict(zip(table.positions.tolist(), found))

    return maps, f"{method.value} of {subject.fingerprint[:16]}"


def follow(steps: "Iterator[tuple[Tally, Outcome | None]]", root: Path, broken_limit: float) -> "Tally":
    """Let the work go on to its end, and tell how it stands. Raises RunError when too many pictures are broken."""
    from sslcli.data.broken import BrokenCount

    tally, _ = next(steps)
    broken = BrokenCount(
        tally.pictures, limit=broken_limit, warn=lambda text: talk(f"warning: {text}"), knob="--broken-limit"
    )
    if tally.present:
        talk(f"{tally.present} of {tally.pictures} masks are there already")
    with Standing(tally.pictures) as show:
        try:
            for tally, outcome in steps:
                if outcome is not None and outcome.broken:
                    broken.add([outcome.broken])
                show(tally.done, line_of(tally))
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted: {tally.present + tally.written} of {tally.pictures} masks are in {root}",
                "the same command goes on from there",
            ) from None
    return tally


def line_of(tally: "Tally") -> str:
    """`1200 of 2713 masks, 14.2 a second, 1:47 left`."""
    left = duration((tally.pictures - tally.done) / max(tally.per_second, 1e-9))
    return f"{tally.done} of {tally.pictures} masks, {tally.per_second:.1f} a second, {left} left"


def draw_sheet(file: Path, source: Any, settings: Any, coarse: "CoarseMaps | None") -> None:
    """A contact sheet of pictures spread over the set; broken ones are left out."""
    from sslcli.data.fingerprint import spread
    from sslcli.data.pictures import BrokenPicture
    from sslcli_saliency.estimation import estimate
    from sslcli_saliency.sheet import write_sheet

    indices = spread(len(source), SHOWN)
    maps = None if coarse is None else coarse(indices)
    estimates = []
    for index in indices:
        try:
            image = source.image(index)
        except BrokenPicture:
            continue
        estimates.append(estimate(image, settings, None if maps is None else maps[index]))
    try:
        write_sheet(file, estimates)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot write the contact sheet {file}: {error}", "name a .png in a folder of yours"
        ) from error


def tell(tally: "Tally", root: Path, sheet: Path | None, *, json: bool) -> None:
    """What was done; a warning where most pictures stay whole."""
    if tally.whole > MANY * max(tally.written, 1):
        talk(
            f"warning: in {tally.whole} of {tally.written} pictures no object was found, so they stay whole\n"
            "hint: look at some with --sheet look.png; try another --threshold, or --method pca --backbone RUN"
        )
    facts = {
        "masks": str(root),
        "pictures": tally.pictures,
        "written": tally.written,
        "present": tally.present,
        "whole": tally.whole,
        "mean_area": tally.mean_area,
        "per_second": round(tally.per_second, 2),
    }
    if json:
        print_json(facts | {"broken": tally.broken, "sheet": str(sheet) if sheet else None})
        return
    for name, fact in {**facts, "broken": len(tally.broken), "sheet": sheet}.items():
        if fact is not None:
            print(f"{name.replace('_', ' '):<10} {fact}")
