"""The folder of a run: where it is, what it says of itself, and whether it may go on.

runs/<name>/  recipe.toml  environment.json  metrics.jsonl  checkpoints/  backbone.safetensors  config.json
"""

import json
import os
import platform
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sslcli.api import Options
from sslcli.data.part import absolute_part
from sslcli.data.sources import absolute
from sslcli.disk import expand, folder_beside, refuse_here, write_whole
from sslcli.errors import UserError
from sslcli.recipe.tables import Recipe

RECIPE, ENVIRONMENT, METRICS, BACKBONE = "recipe.toml", "environment.json", "metrics.jsonl", "backbone.safetensors"
IMPORTED = "imported"  # in environment.json: where the weights of a run came from that was not trained here
PACKAGES = ("sslcli", "torch", "torchvision", "timm", "accelerate", "datasets", "numpy", "pillow", "safetensors")


def free_folder(name: str, parent: Path = Path("runs")) -> Path:
    """`runs/<name>`, or `runs/<name>-2` and so on when that is taken."""
    number, folder = 2, parent / name.replace("/", "-")
    first = folder.name
    while folder.exists():
        folder, number = parent / f"{first}-{number}", number + 1
    return folder


def create(
    folder: Path, recipe: str, environment: Mapping[str, Any], *, fill: Callable[[Path], object] | None = None
) -> Path:
    """Make the folder of a new run in one move, so that it never stands without its recipe, or without what `fill`
    writes into it."""
    refuse_taken(folder)
    try:
        with folder_beside(folder) as unfinished:
            (unfinished / RECIPE).write_text(recipe)
            (unfinished / ENVIRONMENT).write_text(json.dumps(environment, indent=1))
            if fill is not None:
                fill(unfinished)
            os.replace(unfinished, folder)
    except OSError as failure:
        raise UserError(f"cannot make {folder}: {failure}", "name another folder with --output") from failure
    return folder


def refuse_taken(folder: Path) -> None:
    """A new run needs a folder that is not there, or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(
            f"{folder} is already there",
            f"go on with it by: sslcli pretrain --resume {folder}, or name another folder with --output"
            if (folder / RECIPE).exists() and not origin_of(folder)
            else "name another folder with --output",
        )
    refuse_here(folder)


def placed(recipe: Recipe) -> dict[str, Any]:
    """A recipe's document whose paths hold from any folder, so that its run can be gone on with from anywhere."""
    result = deepcopy(dict(recipe.document))
    for choice in recipe.choices():
        table_at(result, choice.path).update(absolute_places(choice.options))
    if result.get("init"):
        result["init"] = absolute_init(result["init"])
    for table, keys in {"data": ("train", "masks"), "probe": ("data", "train", "test")}.items():
        if table in result:
            result[table] = {name: absolute(value) if name in keys else value for name, value in result[table].items()}
    if result.get("data", {}).get("part"):
        result["data"] |= {"part": absolute_part(result["data"]["part"])}
    return result


def absolute_init(init: str) -> str:
    """The same beginning for whoever stands in another folder: RUN, FILE or FILE#part; timm:NAME as it is."""
    name, mark, part = (init, "", "") if expand(init).exists() else init.partition("#")
    return f"{expand(name).absolute()}{mark}{part}" if expand(name).exists() else init


def table_at(document: Any, path: str) -> dict[str, Any]:
    """The table that a recipe names a plugin in: `loss.0`, `views.global`."""
    for part in path.split("."):
        document = document[int(part)] if isinstance(document, list) else document[part]
    table: dict[str, Any] = document
    return table


def absolute_places(options: Options) -> dict[str, str]:
    """The options of a plugin that name files or folders (`api.Place`), as absolute paths."""
    named = {name: getattr(options, name) for name in type(options).places()}
    return {name: str(expand(value).absolute()) for name, value in named.items() if value}


def existing(folder: Path) -> Path:
    """A run folder that can be gone on with."""
    if not folder.is_dir():
        raise UserError(f"there is no run at {folder}", "name the folder that sslcli pretrain printed")
    if not (folder / RECIPE).is_file():
        raise UserError(f"{folder} is no run: it holds no {RECIPE}", "name the folder that sslcli pretrain printed")
    origin = origin_of(folder)
    if origin:
        raise UserError(
            f"{folder} was imported from {origin.get('file')}: it has no training here to go on with",
            f"train a new run from its weights: sslcli pretrain RECIPE --set init={folder}",
        )
    return folder


def origin_of(folder: Path) -> dict[str, Any]:
    """What an imported run was made of: the file, its hash, the importer; empty for a run that was trained here."""
    origin: dict[str, Any] = read_environment(folder).get(IMPORTED, {}) if (folder / ENVIRONMENT).is_file() else {}
    return origin


def environment(*, data: Mapping[str, Any], plugins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What made this run: data, plugins, and a first session."""
    return {"data": dict(data), "plugins": [dict(plugin) for plugin in plugins], "sessions": [session()]}


def session() -> dict[str, Any]:
    """When, with which command and which versions."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device(),
        "versions": {name: version_of(name) for name in PACKAGES},
    }


def device() -> str:
    """What there is to compute on: the GPUs of this machine, or its processor."""
    import torch

    if torch.cuda.is_available():
        names = Counter(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return ", ".join(f"{count} x {name}" for name, count in names.items())
    return "mps" if torch.backends.mps.is_available() else f"cpu, {os.cpu_count()} cores"


def version_of(package: str) -> str:
    """The installed version, or a dash."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "-"


def read_environment(folder: Path) -> dict[str, Any]:
    """What the run noted of itself."""
    try:
        noted: dict[str, Any] = json.loads((folder / ENVIRONMENT).read_text())
        return noted
    except (OSError, ValueError) as broken:
        raise UserError(f"{folder / ENVIRONMENT} cannot be read: {broken}", "restore it from a backup") from broken


def add_session(folder: Path) -> None:
    """Note that the run was taken up again."""
    noted = read_environment(folder)
    noted["sessions"].append(session())
    write_whole(folder / ENVIRONMENT, lambda path: path.write_text(json.dumps(noted, indent=1)))


def refuse_changed_data(folder: Path, found: Mapping[str, Any]) -> None:
    """A run goes on only with the pictures that it began with: the order of samples depends on them."""
    began = read_environment(folder)["data"]
    if (began["samples"], began["fingerprint"]) != (found["samples"], found["fingerprint"]):
        raise UserError(
            f"the data changed since this run began: {began['samples']} pictures from {began['train']!r} then "
            f"(fingerprint {began['fingerprint'][:12]}), {found['samples']} from {found['train']!r} now "
            f"({found['fingerprint'][:12]})",
            f"restore the pictures, or start a new run from this one's weights: --set init={folder}",
        )
    if began.get("masks") != found.get("masks"):
        raise UserError(
            "the masks changed since this run began (data.masks)",
            f"restore them, or start a new run from this one's weights: --set init={folder}",
        )
