"""`sslcli export RUN --to timm|hf|onnx|safetensors`: a trained backbone handed over to other tools."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sslcli.cli.arguments import AsJson
from sslcli.cli.output import print_json, talk
from sslcli.errors import UserError


class Format(StrEnum):
    """What it is written for."""

    TIMM = "timm"
    HF = "hf"
    ONNX = "onnx"
    SAFETENSORS = "safetensors"


class Network(StrEnum):
    """Which of a run's networks."""

    STUDENT = "student"
    TEACHER = "teacher"


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, a checkpoint, a backbone.safetensors or timm:NAME.")
    ],
    to: Annotated[Format | None, typer.Option("--to", help="What will open it.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="The folder that is written.")
    ] = None,
    network: Annotated[
        Network | None, typer.Option(help="Default: the one that the run's recipe exports.", show_default=False)
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace what was exported into OUT before.")] = False,
    json: AsJson = False,
) -> None:
    """Hand a trained backbone over to other tools.

    timm: a folder in the layout of the Hub. hf: one that transformers' AutoModel opens, of plain ViTs and ResNets.
    onnx: images to pooled features and tokens, for any number of images. safetensors: the plain weights in one file.

    The tool opens what was written and must give the features of the run on a fixed batch; else nothing is left. A
    model card, README.md, goes along. The network that the recipe does not export is taken from the newest checkpoint.
    The last line on stdout is the folder.

    \b
    sslcli export runs/mine --to timm -o mine-timm
    sslcli export runs/mine --to hf --network student -o mine-hf
    sslcli export runs/mine --to onnx -o mine-onnx
    sslcli export timm:vit_small_patch16_224.dino --to safetensors -o dino
    """
    if to is None:
        raise UserError("what to write is not said", f"--to {', '.join(Format)}: such as '--to timm'")
    if output is None:
        raise UserError("where to write is not said", "such as '-o mine-timm'")
    from sslcli.evaluation.exporting.handing import hand_over

    handed = hand_over(run, to.value, output, network=network.value if network else "", again=again, note=talk)
    written = handed.written
    talk(f"{written.found} of {written.tensors} tensors")
    talk(f"{written.tool} gives the same features: the largest difference is {written.difference:.1e}")
    for name, fact in written.facts.items():
        talk(f"{name}: {fact}")
    print_json(handed.document()) if json else print(output)
