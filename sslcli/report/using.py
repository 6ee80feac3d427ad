"""How to go on from a run: the lines that load its backbone, or what has to be done before."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import timm

from sslcli.disk import read_json
from sslcli.nn.stored import CONFIG, WEIGHTS
from sslcli.report.notes import State


@dataclass(frozen=True)
class Way:
    """Something that can be done with a run: a sentence, and the lines that do it."""

    said: str
    lines: str


def ways(run: str, folder: Path, state: State) -> list[Way]:
    """What a reader can do with a run now."""
    if not (folder / WEIGHTS).is_file():
        return [
            Way("The run has not handed its backbone over yet. It goes on with:", command("pretrain", "--resume", run))
        ]
    architecture = str(read_json(folder / CONFIG).get("architecture", ""))
    return [
        loading(run, architecture),
        Way("Judge it on labelled pictures:", command("eval", "knn", run, "--data", "./labelled")),
        Way("Train on from its weights:", command("pretrain", "RECIPE", "--set", f"init={run}")),
    ]


def loading(run: str, architecture: str) -> Way:
    """The lines that load the backbone: by timm where timm has such a network."""
    if timm.is_model(architecture):
        lines = [
            "import timm",
            "",
            f"model = timm.create_model({quoted(f'local-dir:{run}')}, pretrained=True)  # features",
        ]
        return Way("The backbone is a network of timm; sslcli is not needed to load it.", "\n".join(lines))
    lines = ["from sslcli.evaluation.trial import Trial", "", f"backbone = Trial({quoted(run)}).backbone"]
    reason = f" ({architecture})" if architecture else ""
    return Way(f"timm has no such network{reason}; sslcli loads it.", "\n".join(lines))


def quoted(text: str) -> str:
    """A text as Python reads it."""
    return json.dumps(text, ensure_ascii=False)


def command(*words: str) -> str:
    """A command line of sslcli."""
    return shlex.join(["sslcli", *words])
